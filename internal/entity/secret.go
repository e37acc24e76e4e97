package entity

import "fmt"

const redacted = "[redacted]"

// A Secret is a share-secret, password or token. Whatever prints, logs or
// marshals it shows "[redacted]"; only Reveal gives the text.
type Secret struct{ text string }

// NewSecret wraps the text of a secret; "" is no secret.
func NewSecret(text string) Secret { return Secret{text} }

// Reveal gives the text, for the wire, the index and the owner alone.
func (s Secret) Reveal() string { return s.text }

// IsZero tells whether there is no secret.
func (s Secret) IsZero() bool { return s.text == "" }

// String hides the text; "" for no secret.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return redacted
}

// Format hides the text from every verb of package fmt.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, s.String()) }

// MarshalText hides the text from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
