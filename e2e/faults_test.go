package e2e

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"
)

// TestFaultsLoseAndDoubleNothing copies files in and out through a service
// that throttles, resets, stalls, cuts, gives wrong bytes and forgets its tokens: CHATFS_FILES of
// them, else 80 and no stalls, which take half a minute each. None is lost or
// doubled, and the queue comes to rest.
func TestFaultsLoseAndDoubleNothing(t *testing.T) {
	t.Parallel()
	files, stalls, refusals, seed := 80, 0, "1", uint64(time.Now().UnixNano())
	if n, err := strconv.Atoi(os.Getenv("CHATFS_FILES")); err == nil {
		files, stalls, refusals = n, 4, "0.3%"
	}
	if n, err := strconv.ParseUint(os.Getenv("CHATFS_SEED"), 10, 64); err == nil {
		seed = n
	}
	t.Logf("CHATFS_SEED=%d", seed)
	v := newServer(t, "--faults-seed", fmt.Sprint(seed), "--faults", fmt.Sprintf("download.stall=%[1]d,upload.stall=%[1]d,upload.throttle=%[2]s,"+
		"download.throttle=%[2]s,upload.unavailable=%[2]s,token.reset=1,error=1%%,html=1%%,reset=4%%,cut=3%%,length=1%%,expire=1%%,redirect=3%%,latency=1ms,page=1%%,gzip=1%%,flip=1%%,swap=1%%,longer=1%%", stalls, refusals))
	s := v.session("--read-timeout", "2m", "--max-rps", "1000")
	s.sh(fmt.Sprintf(`mkdir in; for i in $(seq %d); do { echo $i; head -c $((RANDOM*(i%%16?3:60))) /dev/urandom; } >in/$i; done
mkdir "$D"/d; ls in | xargs -P 8 -n 10 sh -c 'for f; do cp in/$f "$D"/d/; done' -`, files))
	for range files / 100 { // each try has two minutes
		if _, err := s.try(`"$CHATFS" sync`); err == nil {
			break
		}
	}
	s.sync()
	if code := s.interrupt(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	s.sh(`rm -r cache/chatfs`)
	s.mount()
	s.sh(`ls in | xargs -P 8 -I{} cmp in/{} "$D"/d/{}`)
	s.quiet("none lost, none more", `diff <(ls in) <(ls "$D"/d)`)
	s.quiet("no entity of two files", `cd "$D"/d; getfattr --only-values -n user.chatfs.uuid * | grep -oE '.{36}' | sort | uniq -d`)
	s.quiet("a queue at rest", `"$CHATFS" status --json | grep -E '"(waiting|uploading)": [^0]|"failed"' || true`)
	if code := s.interrupt(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	t.Logf("%d files in and out; %s", files, v.stop())
}
