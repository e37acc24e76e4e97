package cli

import (
	"fmt"
	"strings"
)

// readyText says where the tree is, with which service, and how to stop.
func (s *session) readyText() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Mounted at %s\n", s.mountpoint)
	if s.service.embedded != nil {
		fmt.Fprintf(&b, "  service   embedded, at %s: no account is configured,\n            so files stay on this computer (--remote for a real service)\n", s.service.base)
	} else {
		fmt.Fprintf(&b, "  service   %s (%s)\n", s.service.name, s.service.creds)
	}
	fmt.Fprintf(&b, "  profile   %s: names, secrets and waiting uploads in %s\n", s.profile.name, s.profile.state)
	fmt.Fprintf(&b, "  cache     %s, at most %s\n", s.profile.cache, s.options.cacheSize.String())
	if r := s.remains(); r.waiting+r.failed > 0 {
		fmt.Fprintf(&b, "  queue     %s (%s) waiting, %d failed (chatfs status)\n", plural(r.waiting, "file"), formatSize(r.waitingBytes), r.failed)
	}
	if isDaemon() {
		fmt.Fprintf(&b, "  stop      chatfs umount %s, or fusermount3 -u %s\n", s.mountpoint, s.mountpoint)
	} else {
		fmt.Fprintf(&b, "  stop      Ctrl-C, or fusermount3 -u %s\n", s.mountpoint)
	}
	return b.String()
}

// sayReady tells the terminal, or who started us in the background.
func (s *session) sayReady() {
	fmt.Fprint(s.stdout, s.readyText())
	if isDaemon() {
		tellParent(readiness{Ready: s.readyText()})
	}
}
