package cli

import (
	"path"
	"regexp"
	"strings"
	"time"

	"chatfs/internal/transfer"
)

// localNames are the temporary names of editors, desktops, browsers and
// rsync: files that are nobody's business until they are renamed.
var localNames = []string{
	".~lock.*#", "~$*", // LibreOffice's locks, Microsoft Office's owner files
	".*.sw[a-p]", ".*.sw?", "4913", "*~", // vim's swap, its write test, backups
	".goutputstream-*",         // GLib's saves
	"*.trashinfo", ".DS_Store", // the desktop trash's notes, macOS
	"._*", "Thumbs.db", // macOS, Windows
	"*.part", "*.crdownload", // downloads of Firefox and Chrome
	".fuse_hidden*", // what other mounts leave
}

// rsyncStays is how long a file under a name like rsync's temporary ones waits
// for its renaming. A person's .bashrc.241125 looks the same, and must not
// stay without a copy for ever.
const rsyncStays = time.Hour

// rsyncName is rsync's temporary name: a dot, the name, a dot and six of
// [A-Za-z0-9]. A digit or capital among the six is asked for (only one in
// 200 of rsync's has none), so that .app.config is a file like any other.
var rsyncName = regexp.MustCompile(`^\..+\.[A-Za-z0-9]{6}$`)

func isRsyncName(name string) bool {
	return rsyncName.MatchString(name) &&
		strings.ContainsAny(name[len(name)-6:], "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
}

// localOnly tells of a name for how long since it was written its file stays on
// this computer: for ever, if it is one of localNames or of the person's own
// patterns (path.Match's).
func localOnly(patterns []string) (func(name string) time.Duration, error) {
	for _, p := range patterns {
		if _, err := path.Match(p, ""); err != nil {
			return nil, fail(exitUsage, "--local-only %q is no pattern: %w", p, err)
		}
	}
	all := append(append([]string{}, localNames...), patterns...)
	return func(name string) time.Duration {
		for _, p := range all {
			if ok, err := path.Match(p, name); ok && err == nil {
				return transfer.Forever
			}
		}
		if isRsyncName(name) {
			return rsyncStays
		}
		return 0
	}, nil
}
