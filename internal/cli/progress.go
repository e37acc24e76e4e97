package cli

import (
	"fmt"
	"io"
	"os"
	"time"
)

// progressEvery is how often a line of progress is printed where lines
// can't be written over.
const progressEvery = 2 * time.Second

// progressLines prints lines of progress: over and over on one line of a
// terminal, else one now and then, and answers whether it did. The last is
// always printed.
func progressLines(out io.Writer) func(line string, last bool) bool {
	var printed time.Time
	inPlace := isTerminal(os.Stderr)
	out = raw(out) // the cursor is moved
	return func(line string, last bool) bool {
		line = plain(line)
		switch {
		case inPlace && last:
			fmt.Fprintf(out, "\r\x1b[Kchatfs: %s\n", line)
		case inPlace:
			fmt.Fprintf(out, "\r\x1b[Kchatfs: %s", line)
		case last || time.Since(printed) >= progressEvery:
			fmt.Fprintf(out, "chatfs: %s\n", line)
			printed = time.Now()
		default:
			return false
		}
		return true
	}
}
