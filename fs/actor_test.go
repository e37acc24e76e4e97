package fs_test

import (
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// An actor is a process that makes system calls as any user it is told to,
// in several directories one after the other, and tells what each answered
// and how the directory looked then. It is no part of the process that serves
// the mount, so that it may wait for that.
type actor struct {
	t     testing.TB
	cmd   *exec.Cmd
	stdin io.WriteCloser
	enc   *gob.Encoder
	dec   *gob.Decoder
}

// A script is a list of steps to be done in each of the roots. A step is a
// line such as "rename a b", or "as 65534:65533 rename a b".
type script struct {
	Roots []string
	Setup []string // done first, and not looked at in between
	Steps []string
	Fresh bool // each step finds what Setup made
	Times bool // tell which times a step changes
}

// answers are, for one step and one root each, what the call answered and how
// the root looked afterwards.
type answers struct {
	Got  string
	Tree string
}

func startActor(t testing.TB) *actor {
	t.Helper()
	a := &actor{t: t, cmd: exec.Command(os.Args[0])}
	a.cmd.Env = append(os.Environ(), "CHATFS_TEST_ACTOR=1", "GOGC=400")
	a.cmd.Stderr = os.Stderr
	in, err := a.cmd.StdinPipe()
	must(t, err)
	out, err := a.cmd.StdoutPipe()
	must(t, err)
	must(t, a.cmd.Start())
	a.stdin, a.enc, a.dec = in, gob.NewEncoder(in), gob.NewDecoder(out)
	return a
}

// stop ends the process, which closes all that it had open.
func (a *actor) stop() {
	a.t.Helper()
	must(a.t, a.stdin.Close())
	must(a.t, a.cmd.Wait())
}

// run does the script and gives the answers by step and root.
func (a *actor) run(s script) [][]answers {
	a.t.Helper()
	must(a.t, a.enc.Encode(s))
	var got [][]answers
	must(a.t, a.dec.Decode(&got))
	return got
}

// act is the actor's own process. Its one thread changes its credentials, so
// all is done on that thread.
func act(in io.Reader, out io.Writer) error {
	runtime.LockOSThread()
	dec, enc := gob.NewDecoder(in), gob.NewEncoder(out)
	for {
		var s script
		if err := dec.Decode(&s); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := enc.Encode(play(s)); err != nil {
			return err
		}
	}
}

// play does the script; the first answers are to a look at what Setup made.
func play(s script) [][]answers {
	var stages []*stage
	first := make([]answers, len(s.Roots))
	for i, root := range s.Roots {
		stages = append(stages, &stage{root: root, times: s.Times, open: make(map[string]int)})
		defer stages[i].leave()
		first[i] = stages[i].prepare(s.Setup)
	}
	all := [][]answers{first}
	for _, step := range s.Steps {
		if s.Times {
			waitForTick()
		}
		row := make([]answers, len(stages))
		for i, st := range stages {
			if s.Fresh && len(all) > 1 && all[len(all)-1][i].Tree != first[i].Tree {
				st.clear()
				st.prepare(s.Setup)
			}
			row[i] = st.perform(step)
		}
		all = append(all, row)
	}
	return all
}

// waitForTick returns once the clock that file systems stamp times from has
// gone on: older kernels give two changes within one tick the same time.
func waitForTick() {
	var first, now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &first)
	for now = first; now == first; _ = unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &now) {
		time.Sleep(time.Millisecond)
	}
}

// A stage is one root with what a script has open in it.
type stage struct {
	root  string
	times bool
	open  map[string]int // descriptors by the script's names for them
	runs  []*exec.Cmd
	seen  map[uint64]stamps
}

// leave closes and ends what the script left.
func (s *stage) leave() {
	for _, fd := range s.open {
		_ = unix.Close(fd)
	}
	for _, cmd := range s.runs {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

// prepare does the steps of a setup, none of which may fail.
func (s *stage) prepare(setup []string) answers {
	for _, step := range setup {
		if got := s.do(step); strings.HasPrefix(got, "E") {
			return answers{Got: step + ": " + got}
		}
	}
	return answers{Tree: s.look()}
}

// clear makes the root empty, and anew.
func (s *stage) clear() {
	_ = os.Chdir("/")
	_ = os.RemoveAll(s.root)
	_ = os.Mkdir(s.root, 0o755)
}

// perform does one step.
func (s *stage) perform(step string) answers {
	got := s.do(step)
	return answers{Got: got, Tree: s.look()}
}

// do makes a step's call, and tells its errno or what it gave.
func (s *stage) do(step string) string {
	if err := os.Chdir(s.root); err != nil {
		return err.Error()
	}
	words := strings.Fields(step)
	for i, w := range words {
		words[i] = spell(w)
	}
	if words[0] == "as" {
		back, err := become(words[1])
		if err != nil {
			return "become " + words[1] + ": " + err.Error()
		}
		defer back()
		words = words[2:]
	}
	got, err := s.call(words[0], words[1:])
	if e := errnoName(err); e != "" {
		return e
	}
	return got
}

// spell turns %L255 into a name of 255 bytes, %P4095 into a path of 4,095
// bytes whose directories are named d…, and %N into a newline.
func spell(w string) string {
	w = strings.ReplaceAll(w, "%N", "\n")
	return longName.ReplaceAllStringFunc(w, func(m string) string {
		if m[1] == 'L' {
			return strings.Repeat("n", number(m[2:]))
		}
		return longPath(number(m[2:]))
	})
}

var longName = regexp.MustCompile("%[LP][0-9]+")

// longPath is a relative path of n bytes through directories of 100.
func longPath(n int) string {
	dir := strings.Repeat("d", 100) + "/"
	p := strings.Repeat(dir, (n-1)/len(dir))
	return p + strings.Repeat("x", n-len(p))
}

func number(s string) int {
	n, err := strconv.ParseInt(s, 0, 64)
	if err != nil {
		panic(fmt.Sprintf("the script's number %q: %v", s, err))
	}
	return int(n)
}

// become takes on "uid:gid,gid…" until the function that it returns is
// called. The raw calls change this thread alone.
func become(who string) (back func(), err error) {
	user, list, _ := strings.Cut(who, ":")
	var groups []uint32
	for g := range strings.SplitSeq(list, ",") {
		groups = append(groups, uint32(number(g)))
	}
	if err := credentials(number(user), groups); err != nil {
		return nil, err
	}
	return restore, nil
}

// restore is root again.
func restore() { _ = credentials(0, []uint32{0}) }
