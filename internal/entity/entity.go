package entity

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// MaxSize is the service's limit for one file, in bytes: 10 MB in its
// documents, taken as 10 MiB. Contracts raise it.
const MaxSize = 10 << 20

// ErrBadUUID says that a text is not of a UUID's form.
var ErrBadUUID = errors.New("not a uuid")

// A UUID names an entity at the service. The zero UUID names none.
type UUID [16]byte

// NewUUID makes a version 1 UUID, as the service does: it holds the time of
// the upload.
func NewUUID() (UUID, error) {
	u, err := uuid.NewUUID()
	return UUID(u), err
}

// NewUUIDAt is NewUUID for a clock of another time: a simulated one, say.
func NewUUIDAt(at time.Time) (UUID, error) {
	u, err := NewUUID()
	// Whole seconds: NewUUID's ticks of 100 ns are what makes each another one.
	ticks := uint64(uuid.UUID(u).Time()) + uint64(time.Until(at).Round(time.Second)/100)
	binary.BigEndian.PutUint32(u[0:], uint32(ticks))
	binary.BigEndian.PutUint16(u[4:], uint16(ticks>>32))
	binary.BigEndian.PutUint16(u[6:], uint16(ticks>>48)&0x0fff|0x1000)
	return u, err
}

// ParseUUID reads the 36-character form. Other text is ErrBadUUID.
func ParseUUID(s string) (UUID, error) {
	u, err := uuid.Parse(s)
	if err != nil || len(s) != 36 {
		return UUID{}, fmt.Errorf("%q: %w", s, ErrBadUUID)
	}
	return UUID(u), nil
}

// IsZero tells whether u names no entity.
func (u UUID) IsZero() bool { return u == UUID{} }

// String is the 36-character form.
func (u UUID) String() string { return uuid.UUID(u).String() }

// Time is the upload time that a version 1 UUID holds (RFC 9562, to 100 ns);
// the zero Time for other versions.
func (u UUID) Time() time.Time {
	v := uuid.UUID(u)
	if v.Version() != 1 {
		return time.Time{}
	}
	sec, nsec := v.Time().UnixTime()
	return time.Unix(sec, nsec)
}

// MarshalText and UnmarshalText carry the 36-character form.
func (u UUID) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText is the inverse of MarshalText; other text is ErrBadUUID.
func (u *UUID) UnmarshalText(text []byte) error {
	v, err := ParseUUID(string(text))
	if err == nil {
		*u = v
	}
	return err
}

// A Digest is the SHA-256 of a content. The zero Digest means unknown.
type Digest [sha256.Size]byte

// IsZero tells whether the digest is unknown.
func (d Digest) IsZero() bool { return d == Digest{} }

// String is the digest as 64 hexadecimal digits.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// An Entity is an immutable object at the service.
type Entity struct {
	UUID   UUID
	Secret Secret // none for an unrestricted entity
	Size   int64  // bytes
	Digest Digest // zero while unknown
	Sums   Sums   // of the content's blocks; zero while unknown, and of one block
}

// Restricted tells whether a download needs the share-secret.
func (e Entity) Restricted() bool { return !e.Secret.IsZero() }
