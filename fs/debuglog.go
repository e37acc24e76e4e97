package fs

import (
	"io"
	"regexp"
)

// payload is how go-fuse shows the beginning of what was written, read or got:
// a quoted piece before its size, or after it.
var payload = regexp.MustCompile(`"(?:[^"\\]|\\.)*"(?:\.\.\.)? (\d+b)|(\d+b data) "(?:[^"\\]|\\.)*"(?:\.\.\.)?`)

// A debugLog takes go-fuse's lines of each request and leaves contents, and
// attributes with share-secrets among them, out: sizes tell enough.
type debugLog struct{ io.WriteCloser }

func (d debugLog) Write(p []byte) (int, error) {
	if _, err := d.WriteCloser.Write(payload.ReplaceAll(p, []byte("$1$2"))); err != nil {
		return 0, err
	}
	return len(p), nil
}
