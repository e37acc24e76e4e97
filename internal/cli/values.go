package cli

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A byteSize is a flag in bytes: "10GiB", "500M", "1048576". K, M, G and T
// are powers of 1024, with or without iB; KB, MB, GB and TB are powers of
// 1000.
type byteSize int64

var sizeUnits = []struct {
	suffix string
	factor float64
}{
	{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"tib", 1 << 40},
	{"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"tb", 1e12},
	{"k", 1 << 10}, {"m", 1 << 20}, {"g", 1 << 30}, {"t", 1 << 40}, {"b", 1}, {"", 1},
}

func (b *byteSize) Set(s string) error {
	text := strings.ToLower(strings.TrimSpace(s))
	for _, u := range sizeUnits {
		number, ok := strings.CutSuffix(text, u.suffix)
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(v >= 0 && v*u.factor < math.MaxInt64) {
			break
		}
		*b = byteSize(v * u.factor)
		return nil
	}
	return fmt.Errorf("%q is no size: write 10GiB, 500M or a number of bytes", s)
}

func (b *byteSize) String() string { return formatSize(int64(*b)) }
func (*byteSize) Type() string     { return "size" }

// formatSize writes bytes for a person: "9.5 MiB".
func formatSize(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n), ""
	for _, u := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if value < 1024 {
			break
		}
		value, unit = value/1024, u
	}
	return strings.TrimSuffix(strconv.FormatFloat(value, 'f', 1, 64), ".0") + " " + unit
}

// A fraction is a flag between 0 and 1, also written as "5%".
type fraction float64

func (f *fraction) Set(s string) error {
	number, percent := strings.CutSuffix(strings.TrimSpace(s), "%")
	v, err := strconv.ParseFloat(number, 64)
	if percent {
		v /= 100
	}
	if err != nil || !(v >= 0 && v < 1) {
		return fmt.Errorf("%q is no share of the disk: write 5%% or 0.05", s)
	}
	*f = fraction(v)
	return nil
}

func (f *fraction) String() string {
	return strconv.FormatFloat(float64(*f)*100, 'f', -1, 64) + "%"
}
func (*fraction) Type() string { return "share" }

// A choice is a flag that takes one of a few words.
type choice struct {
	value   string
	allowed []string
}

func (c *choice) Set(s string) error {
	if !slices.Contains(c.allowed, s) {
		return fmt.Errorf("%q is none of %s", s, strings.Join(c.allowed, ", "))
	}
	c.value = s
	return nil
}

func (c *choice) String() string { return c.value }
func (c *choice) Type() string   { return strings.Join(c.allowed, "|") }

// A span is a flag for a time that is told in days, or as Go does (36h).
type span time.Duration

func (d *span) Set(s string) error {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		*d = span(time.Duration(n) * 24 * time.Hour)
		if err == nil {
			return nil
		}
	}
	v, err := time.ParseDuration(s)
	if err != nil || v < 0 {
		return fmt.Errorf("%q is no time like 7d or 36h", s)
	}
	*d = span(v)
	return nil
}

func (d *span) String() string {
	const day = span(24 * time.Hour)
	if *d != 0 && *d%day == 0 {
		return fmt.Sprintf("%dd", *d/day)
	}
	return time.Duration(*d).String()
}

func (d *span) Type() string { return "time" }

// An optionalSpan is a span whose default depends; nil until it is given.
type optionalSpan struct{ value *span }

func (o *optionalSpan) Set(s string) error {
	o.value = new(span)
	return o.value.Set(s)
}

func (o *optionalSpan) String() string {
	if o.value == nil {
		return ""
	}
	return o.value.String()
}

func (o *optionalSpan) Type() string { return "time" }

// An optionalID is a flag for a user or group number, or for a umask when
// octal is set; nil until it is given.
type optionalID struct {
	value *uint32
	octal bool
}

func (o *optionalID) Set(s string) error {
	base, bits, kind := 10, 32, "number"
	if o.octal {
		base, bits, kind = 8, 9, "octal number up to 777"
	}
	v, err := strconv.ParseUint(s, base, bits)
	if err != nil || v == math.MaxUint32 {
		return fmt.Errorf("%q is no %s", s, kind)
	}
	id := uint32(v)
	o.value = &id
	return nil
}

func (o *optionalID) String() string {
	switch {
	case o.value == nil:
		return ""
	case o.octal:
		return fmt.Sprintf("%03o", *o.value)
	}
	return strconv.FormatUint(uint64(*o.value), 10)
}

func (o *optionalID) Type() string {
	if o.octal {
		return "octal"
	}
	return "number"
}

// plural is "1 file" or "3 files".
func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// number is the word for one, or that for another number of things.
func number(n int, one, other string) string {
	if n == 1 {
		return one
	}
	return other
}
