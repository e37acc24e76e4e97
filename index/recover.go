package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A record is one of the journal's, as read back.
type record struct {
	seq     uint64
	payload []byte
}

// A readSegment is a segment's file as it was found.
type readSegment struct {
	path     string
	number   uint64
	bootID   string
	firstSeq uint64
	records  []record // up to the first that is not whole
	rest     int64    // bytes after them
	cut      bool     // they are the beginning of one record
	later    []record // those among them that are whole
	durable  uint64   // the highest record that a marker anywhere says was durable
	headless bool     // the header was never written
	err      error    // the header is damaged
}

func (r *readSegment) lastSeq() uint64 { return r.firstSeq + uint64(len(r.records)) - 1 }

// latest is the highest number of a record that is whole, wherever it is.
func (r *readSegment) latest() (seq uint64) {
	for _, rec := range r.records[max(0, len(r.records)-1):] {
		seq = rec.seq
	}
	for _, rec := range r.later {
		seq = max(seq, rec.seq)
	}
	return seq
}

// listSegments gives the journal's files, oldest first.
func listSegments(dir string) ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(dir, segmentPrefix+"*"))
	if err != nil {
		return nil, err
	}
	paths = slices.DeleteFunc(paths, func(p string) bool { return segmentNumber(p) == 0 })
	slices.Sort(paths)
	return paths, nil
}

// segmentNumber is 0 for files that are none.
func segmentNumber(path string) uint64 {
	hex := strings.TrimPrefix(filepath.Base(path), segmentPrefix)
	n, err := strconv.ParseUint(hex, 16, 64)
	if err != nil || len(hex) != 16 {
		return 0
	}
	return n
}

func parseSegment(path string) (*readSegment, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := &readSegment{path: path, number: segmentNumber(path)}
	if len(b) < headerSize || bytes.Count(b[:headerSize], []byte{0}) == headerSize {
		r.headless, r.rest = true, int64(len(b))
		return r, nil
	}
	salt := binary.BigEndian.Uint64(b[8:])
	r.firstSeq = binary.BigEndian.Uint64(b[16:])
	r.bootID = strings.TrimRight(string(b[24:60]), "\x00")
	switch {
	case string(b[:7]) != string(headerMagic) || crc32.Checksum(b[:60], castagnoli) != binary.BigEndian.Uint32(b[60:]):
		r.err = &ErrDamaged{File: path, What: "its header is not as it was written"}
		first, n := parseRecord(b[headerSize:], salt) // the records prove themselves, if the salt is right
		r.firstSeq, r.headless = first.seq, n == 0
	case b[7] != journalVersion:
		return nil, fmt.Errorf("%s: %w", path, ErrNewerSchema{Found: uint64(b[7]), Known: journalVersion})
	}
	r.parseRecords(b[headerSize:], salt)
	return r, nil
}

// parseRecords takes the whole records, then looks whether more come after a
// broken one: that tells damage from a torn tail.
func (r *readSegment) parseRecords(b []byte, salt uint64) {
	for {
		rec, n := parseRecord(b, salt)
		if n == 0 || rec.seq != r.firstSeq+uint64(len(r.records)) {
			break
		}
		r.records = append(r.records, rec)
		r.noteMarker(rec)
		b = b[n:]
	}
	r.rest = int64(len(b))
	for rest := b; len(rest) > 0; {
		i := bytes.Index(rest[1:], recordMagic)
		if i < 0 {
			break
		}
		rest = rest[1+i:]
		if rec, n := parseRecord(rest, salt); n > 0 {
			r.later = append(r.later, rec)
			r.noteMarker(rec)
		}
	}
	r.cut = len(b) > 0 && len(r.later) == 0 && isCut(b, salt, r.firstSeq+uint64(len(r.records)))
}

// isCut tells whether b is the beginning of the record seq and nothing else: a
// process that is killed while it writes leaves the bytes that it wrote, and
// they are right. Any other broken record is damage, or a loss of power.
func isCut(b []byte, salt, seq uint64) bool {
	head := append([]byte{}, b[:min(len(b), recordHead)]...)
	if !bytes.HasPrefix(head, recordMagic) {
		return bytes.HasPrefix(recordMagic, head)
	}
	if len(head) < recordHead {
		return true
	}
	if binary.BigEndian.Uint64(head[8:]) != seq || int64(binary.BigEndian.Uint32(head[4:])) <= int64(len(b)-recordHead) {
		return false
	}
	// Whole but for its length?
	whole := append([]byte{}, b...)
	binary.BigEndian.PutUint32(whole[4:], uint32(len(b)-recordHead))
	return recordSum(salt, whole) != binary.BigEndian.Uint32(head[16:])
}

func (r *readSegment) noteMarker(rec record) {
	if _, durable, ok := rec.marker(); ok {
		r.durable = max(r.durable, durable)
	}
}

// parseRecord reads the record at b's start; n is its size, 0 if none is whole.
func parseRecord(b []byte, salt uint64) (rec record, n int) {
	if len(b) < recordHead || !bytes.HasPrefix(b, recordMagic) {
		return rec, 0
	}
	n = recordHead + int(binary.BigEndian.Uint32(b[4:]))
	if n > len(b) || n == recordHead || recordSum(salt, b[:n]) != binary.BigEndian.Uint32(b[16:]) {
		return rec, 0
	}
	return record{binary.BigEndian.Uint64(b[8:]), b[recordHead:n]}, n
}

// marker reads a marker's two numbers.
func (r record) marker() (covers, durable uint64, ok bool) {
	if r.payload[0] != kindMarker {
		return 0, 0, false
	}
	d := decoder{b: r.payload[1:]}
	covers, durable = d.uint(), d.uint()
	return covers, durable, !d.bad
}

// changes reads a record of changes.
func (r record) changes() ([]change, error) {
	if r.payload[0] != kindChanges {
		return nil, errRecord
	}
	d := decoder{b: r.payload[1:]}
	var cs []change
	for len(d.b) > 0 {
		b := d.byte()
		c := change{key: string(b) + string(d.bytes())}
		if b >= byte(bucketCount) {
			return nil, errRecord
		}
		if n := d.uint(); n > 0 {
			c.value = d.take(int(min(n-1, 1<<31)))
		}
		cs = append(cs, c)
	}
	return cs, d.err()
}

// A replay is what the journal adds to what bbolt has.
type replay struct {
	records []record // of changes, to be applied
	dropped []record // of changes, not to be applied
	lastSeq uint64   // the highest number seen, applied or not
	paths   []string // the files, oldest first
	next    uint64   // the number for the next segment
	found   Recovery
}

// readJournal reads the segments in dir. applied is the last record that bbolt
// has. With salvage, damage ends the replay instead of failing it. proven picks
// from records that no marker covers, and that a loss of power makes doubtful,
// how many to trust: the first so many.
func readJournal(dir, bootID string, applied uint64, salvage bool, proven func(sure, doubtful []record) int) (*replay, error) {
	paths, err := listSegments(dir)
	if err != nil {
		return nil, err
	}
	p := &replay{lastSeq: applied, paths: paths, next: 1}
	if len(paths) > 0 {
		p.next = segmentNumber(paths[len(paths)-1]) + 1
	}
	segments, err := p.parseAll()
	if err != nil {
		return nil, err
	}
	segments = needed(segments, applied)
	all, err := p.chain(segments, bootID, applied)
	if err != nil {
		if !salvage {
			return nil, err
		}
		p.found.SetAside = paths
	}
	p.choose(all, segments, applied, proven)
	return p, nil
}

func (p *replay) parseAll() ([]*readSegment, error) {
	var segments []*readSegment
	for _, path := range p.paths {
		r, err := parseSegment(path)
		if err != nil {
			return nil, err
		}
		p.lastSeq = max(p.lastSeq, r.latest())
		segments = append(segments, r)
	}
	return segments, nil
}

// needed leaves out the segments whose records bbolt has, all of them. Their
// files were being removed, and may come back after a loss of power with
// anything in them. A commit's last record is the last of its segment, so one
// that begins at the next has all that counts.
func needed(segments []*readSegment, applied uint64) []*readSegment {
	for i, r := range slices.Backward(segments) {
		if !r.headless && r.firstSeq <= applied+1 {
			return segments[i:]
		}
	}
	return segments
}

// chain puts the records of all segments in a row up to the first that is
// missing, and tells whether it may be missing.
func (p *replay) chain(segments []*readSegment, bootID string, applied uint64) (all []record, err error) {
	var durable uint64
	headless := 0
	for _, r := range segments {
		durable = max(durable, r.durable)
		if r.headless {
			headless++
		}
		p.found.PowerLoss = p.found.PowerLoss || !r.headless && r.bootID != bootID
	}
	// A killed process leaves no more than its last segment without a header.
	p.found.PowerLoss = p.found.PowerLoss || headless > 1 && headless == len(segments)
	want := applied + 1
	for i, r := range segments {
		if r.err != nil {
			if !r.headless && r.firstSeq <= want {
				all = append(all, r.records...)
			}
			return all, r.err
		}
		if !r.headless && (i == 0 && r.firstSeq > want || i > 0 && r.firstSeq != want) {
			return all, &ErrDamaged{File: r.path, What: fmt.Sprintf("it starts with record %d, and %d is missing", r.firstSeq, want)}
		}
		all = append(all, r.records...)
		if !r.headless {
			want = r.lastSeq() + 1
		}
		if r.rest == 0 && !r.headless || want <= applied && r.latest() <= applied {
			want = max(want, applied+1)
			continue
		}
		last := i == len(segments)-1
		if durable >= want || !p.found.PowerLoss && !(last && (r.headless || r.cut)) {
			return all, &ErrDamaged{File: r.path, What: fmt.Sprintf("record %d is broken", want)}
		}
		p.found.TornBytes += r.rest
		return all, nil
	}
	return all, nil
}

// choose takes the records that bbolt lacks; after a loss of power those that a
// marker covers, and as many more as are proven.
func (p *replay) choose(all []record, segments []*readSegment, applied uint64, proven func(sure, doubtful []record) int) {
	covered := p.lastSeq
	if p.found.PowerLoss {
		covered = applied
		for _, r := range all {
			if covers, _, ok := r.marker(); ok {
				covered = max(covered, covers)
			}
		}
	}
	for _, r := range all {
		switch {
		case r.seq <= applied || r.payload[0] == kindMarker:
		case r.seq <= covered:
			p.records = append(p.records, r)
		default:
			p.dropped = append(p.dropped, r)
		}
	}
	if len(p.dropped) > 0 {
		n := proven(p.records, p.dropped)
		p.records, p.dropped = append(p.records, p.dropped[:n]...), p.dropped[n:]
	}
	p.dropped = append(p.dropped, behind(all, segments, applied)...)
	p.found.Records, p.found.Dropped = len(p.records), len(p.dropped)
}

// behind are the whole records of changes that are not in the row, since one
// before them is missing.
func behind(all []record, segments []*readSegment, applied uint64) (left []record) {
	last := applied
	if n := len(all); n > 0 {
		last = max(last, all[n-1].seq)
	}
	for _, r := range segments {
		for _, rec := range append(r.records[:len(r.records):len(r.records)], r.later...) {
			if rec.seq > last && rec.payload[0] == kindChanges {
				left = append(left, rec)
			}
		}
	}
	return left
}

// lostPower tells whether a journal is left from before the machine's start.
func lostPower(dir, bootID string) bool {
	paths, _ := listSegments(dir) // an error is told by who reads them
	return slices.ContainsFunc(paths, func(path string) bool {
		f, err := os.Open(path)
		if err != nil {
			return false
		}
		defer f.Close()
		var h [headerSize]byte
		_, err = io.ReadFull(f, h[:])
		return err == nil && strings.TrimRight(string(h[24:60]), "\x00") != bootID
	})
}

// clear removes the files that were replayed, the newest first, so that what is
// left after a crash is still the beginning of the row.
func (p *replay) clear(dir string) error {
	if len(p.paths) == 0 {
		return nil
	}
	for _, path := range slices.Backward(p.paths) {
		var err error
		if len(p.found.SetAside) > 0 {
			err = setAside(path)
		} else {
			err = os.Remove(path)
		}
		if err != nil {
			return err
		}
	}
	return syncDir(dir)
}

// setAside renames a journal's file to one that no journal has, and that is not
// there yet.
func setAside(path string) error {
	to := filepath.Join(filepath.Dir(path), "damaged-"+strings.TrimPrefix(filepath.Base(path), segmentPrefix))
	for n, free := 1, to; ; n++ {
		if _, err := os.Lstat(free); errors.Is(err, fs.ErrNotExist) {
			return os.Rename(path, free)
		}
		free = fmt.Sprintf("%s.%d", to, n)
	}
}
