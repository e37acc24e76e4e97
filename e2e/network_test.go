package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"chatfs/internal/fusetest"
)

// TestServiceThatIsAway takes the service away, by its death and by a stop in
// which connections are taken and nothing answers: names, cached files and
// writes go on, a read of what is not here ends in time with a true errno or by
// a signal, and afterwards all is as if nothing had been.
func TestServiceThatIsAway(t *testing.T) {
	for _, how := range []string{"killed", "silent"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel() // it waits most of the time, as those below do
			serviceIsAway(t, how)
		})
	}
}

func serviceIsAway(t *testing.T, how string) {
	v := newServer(t)
	s := v.session("--read-timeout", "10s", "--drain-timeout", "1s")
	s.sh(`mkdir "$D"/dir; for i in 1 2 3 4 5; do echo "content $i" >"$D"/dir/$i; done`)
	s.sync()
	if code := s.interrupt(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	s.sh(`rm -r cache/chatfs`)
	s.mount()
	s.sh(`cat "$D"/dir/1`)
	if how == "killed" {
		v.kill()
	} else {
		v.signal(syscall.SIGSTOP)
	}
	s.quiet("what needs no network", `cd "$D"
limit() { timeout --signal=KILL 60 "$@"; } # far above what a busy machine takes
limit ls -l dir >../ls.txt; limit stat dir/2 >../stat.txt; limit df . >../df.txt; limit mv dir/3 dir/three
limit mkdir new; limit touch -d 2020-01-01 dir/4; limit chmod 600 dir/4; limit ln dir/5 new/5; limit rm dir/5
[[ $(limit cat dir/1) = "content 1" ]]
echo written meanwhile >new/file; [[ $(limit cat new/file) = "written meanwhile" ]]`)
	begin := time.Now()
	bad, err := s.try(`timeout --signal=KILL 60 cat "$D"/dir/2`)
	wantInTime(t, "a read of what is not here", 10*time.Second, time.Since(begin))
	if err == nil ||
		!strings.Contains(bad, "Connection timed out") && !strings.Contains(bad, "No route to host") {
		t.Errorf("a read of what is not here: %v: %s", err, bad)
	}
	s.interruptedRead("dir/4")
	if how == "killed" {
		v.restart()
	} else {
		v.signal(syscall.SIGCONT)
	}
	fusetest.Eventually(t, "a read once the service is back", func() error {
		out, err := s.try(`cat "$D"/dir/{2,three,4} "$D"/new/5`)
		if want := "content 2\ncontent 3\ncontent 4\ncontent 5\n"; err == nil && out != want {
			err = fmt.Errorf("%q", out)
		}
		return err
	})
	s.sync()
	if code := s.interrupt(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// wantInTime wants what is promised to end within a bound to have done so: the
// bound, and what a busy machine adds.
func wantInTime(t *testing.T, what string, bound, took time.Duration) {
	t.Helper()
	if most := bound*6/5 + time.Second; took > most {
		t.Errorf("%s took %v, wanted at most %v", what, took, most)
	}
}

// interruptedRead has a signal end a read that waits for the service.
func (s *session) interruptedRead(name string) {
	s.t.Helper()
	cat := exec.Command("cat", filepath.Join(s.Dir, name))
	if err := cat.Start(); err != nil {
		s.t.Fatal(err)
	}
	fusetest.Eventually(s.t, "cat reads", func() error {
		// Its read waits for an answer of the mount.
		stack, err := os.ReadFile(fmt.Sprintf("/proc/%d/wchan", cat.Process.Pid))
		fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/3", cat.Process.Pid))
		if err == nil && len(fds) == 0 {
			err = fmt.Errorf("it waits in %q", stack)
		}
		return err
	})
	begin := time.Now()
	if err := cat.Process.Signal(os.Interrupt); err != nil {
		s.t.Fatal(err)
	}
	err := cat.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGINT {
		s.t.Errorf("cat was not ended by the signal: %v", err)
	}
	if took := time.Since(begin); took > 8*time.Second { // --read-timeout is 10 s
		s.t.Errorf("the signal took %v", took)
	}
}

// TestMountWithoutAnyNetwork mounts where there is no interface and no name
// is resolved: it warns, keeps what is written, and says what waits.
func TestMountWithoutAnyNetwork(t *testing.T) {
	t.Parallel()
	fusetest.NeedsRoot(t, "take the network away from a mount")
	s := &session{t: t, base: t.TempDir(), Wrap: []string{"unshare", "--net"}, Env: []string{"CHATFS_TOKEN=a-token"},
		Args: []string{"--remote", "https://files.example/org/app", "--drain-timeout", "100ms"}}
	s.begin()
	if !strings.Contains(s.output(), "can't be reached now") {
		t.Error("no warning")
	}
	s.quiet("names, writes and reads", `cd "$D"; mkdir d; echo words >d/f; mv d e; [[ $(cat e/f) = words ]]; df . >../df.txt`)
	fusetest.Eventually(t, "status tells that uploads are paused", func() error {
		out, err := s.try(`"$CHATFS" status`)
		if !strings.Contains(out, "  paused ") || !strings.Contains(out, "1 file (6") {
			return errors.Join(errors.New(out), err)
		}
		return nil
	})
	if code := s.interrupt(); code != 8 {
		t.Errorf("exit code %d, want 8", code)
	}
}

// TestEndWithoutTheService ends mounts whose service is dead, in each way that
// a mount is told to end: what waits is told, and is sent after the next mount.
func TestEndWithoutTheService(t *testing.T) {
	t.Parallel()
	v := newServer(t)
	s := v.session("--drain-timeout", "5s")
	v.kill()
	signals := []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT}
	for i, sig := range signals {
		if i > 0 {
			s.mount()
		}
		s.sh(fmt.Sprintf(`echo "content %d" >"$D"/%d`, i, i))
		begin := time.Now()
		s.signal(sig)
		if code := s.wait(); code != 8 {
			t.Errorf("%v: exit code %d, want 8", sig, code)
		}
		wantInTime(t, fmt.Sprintf("the end by %v", sig), 5*time.Second, time.Since(begin))
		if want := fmt.Sprintf("%d file", i+1); !strings.Contains(s.lastLine(), want) || !strings.Contains(s.lastLine(), "resume") {
			t.Errorf("%v: the last line is %q", sig, s.lastLine())
		}
	}
	s.mount("--drain-timeout", "1h")
	s.signal(syscall.SIGINT)
	fusetest.Eventually(t, "the end begins", func() error {
		if !strings.Contains(s.lastLine(), "to go") {
			return errors.New(s.lastLine())
		}
		return nil
	})
	s.signal(syscall.SIGINT)
	if code := s.wait(); code != 8 {
		t.Errorf("a second Ctrl-C: exit code %d, want 8", code)
	}
	v.restart()
	s.mount()
	s.sync()
	s.quiet("all is there", `for i in 0 1 2; do [[ $(cat "$D"/$i) = "content $i" ]]; done`)
}

// TestEndSendsWhatWaits: SIGTERM, as systemd sends it, and SIGHUP, as a
// session's end does, finish the uploads, also those that rest yet.
func TestEndSendsWhatWaits(t *testing.T) {
	t.Parallel()
	v := newServer(t)
	s := v.session("--settle", "1h")
	for i, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP} {
		if i > 0 {
			s.mount()
		}
		s.sh(fmt.Sprintf(`for i in $(seq 30); do echo "content %d $i" >"$D"/%d-$i; done`, i, i))
		s.signal(sig)
		if code := s.wait(); code != 0 {
			t.Errorf("%v: exit code %d", sig, code)
		}
	}
	s.sh(`rm -r cache/chatfs`)
	s.mount()
	s.quiet("all is at the service", `for j in 0 1; do for i in $(seq 30); do [[ $(cat "$D"/$j-$i) = "content $j $i" ]]; done; done`)
}

func (s *session) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.proc.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

func (s *session) lastLine() string {
	lines := strings.Split(strings.TrimSpace(s.output()), "\n")
	return lines[len(lines)-1]
}
