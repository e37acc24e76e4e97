package cli

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"filippo.io/age"
)

// TestArchiveThatFailedHasNoEnd: what was written before an error does not pass
// for a whole archive.
func TestArchiveThatFailedHasNoEnd(t *testing.T) {
	key, err := age.NewScryptRecipient("horse")
	if err != nil {
		t.Fatal(err)
	}
	key.SetWorkFactor(4)
	for _, seals := range [][]age.Recipient{nil, {key}} {
		for _, broken := range []error{nil, errors.New("the other process ended")} {
			var b bytes.Buffer
			err := writeArchive(&b, embedded, seals, func(w io.Writer) error {
				_, err := w.Write(make([]byte, 1<<20))
				return errors.Join(err, broken)
			})
			if !errors.Is(err, broken) {
				t.Errorf("writing ends with %v", err)
			}
			t.Setenv(passphraseVariable, "horse")
			r, _, err := (&keyFlags{}).readArchive(nil, &b)
			if err == nil {
				_, err = io.Copy(io.Discard, r)
			}
			if (err != nil) != (broken != nil) {
				t.Errorf("after %v, reading ends with %v", broken, err)
			}
		}
	}
}
