package cli

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/sirupsen/logrus"
)

// A screen is where a person reads. Names, messages and services' words may be
// anybody's, and could move the cursor, colour, hide or turn around what stands
// there: so nothing reaches it but text and line ends.
type screen struct{ raw io.Writer }

func (s screen) Write(p []byte) (int, error) {
	lines := strings.SplitAfter(string(p), "\n")
	for i, line := range lines {
		text, end := strings.CutSuffix(line, "\n")
		cells := strings.Split(text, "\t")
		for j := range cells {
			cells[j] = plain(cells[j])
		}
		if lines[i] = strings.Join(cells, "\t"); end {
			lines[i] += "\n"
		}
	}
	if _, err := io.WriteString(s.raw, strings.Join(lines, "")); err != nil {
		return 0, err
	}
	return len(p), nil
}

// raw is what is behind a screen, for what is no text and for the cursor.
func raw(w io.Writer) io.Writer {
	if s, ok := w.(screen); ok {
		return s.raw
	}
	return w
}

// plain is the one escaping of what a person reads: a line of text in which
// nothing acts on a terminal. What it escapes looks as in Go and in JSON.
func plain(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r < ' ':
			fmt.Fprintf(&b, `\x%02x`, r)
		case acts(r):
			for _, unit := range utf16.Encode([]rune{r}) {
				fmt.Fprintf(&b, `\u%04x`, unit)
			}
		default:
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

// acts tells of a rune that a terminal, or a line of text, obeys: controls, line
// and paragraph ends, marks that turn the direction of writing, and tags, which
// nobody sees. Joiners and variants, of which emoji are made, do not.
func acts(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' || r >= 0xE0000 && r <= 0xE007F
}

// A plainFormatter is for a terminal, to which logrus writes messages as they
// are; elsewhere it quotes them.
type plainFormatter struct{ logrus.Formatter }

func (f plainFormatter) Format(e *logrus.Entry) ([]byte, error) {
	shown := *e
	shown.Message = plain(e.Message)
	shown.Data = make(logrus.Fields, len(e.Data))
	for key, value := range e.Data {
		shown.Data[key] = plain(fmt.Sprint(value))
	}
	return f.Formatter.Format(&shown)
}
