package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Recovery tells what opening the index found in the journal.
type Recovery struct {
	Records   int   // changes replayed
	TornBytes int64 // of a record that was being written when all stopped
	PowerLoss bool  // the machine was started anew since the journal was written
	Dropped   int   // changes after the last sync, which a loss of power makes doubtful
	Orphans   int   // unlinked inodes that were open and are forgotten now
	Staged    []StagedID
	SetAside  []string // damaged journals that Options.Salvage kept
}

// String is one line for a person.
func (r Recovery) String() string {
	how := "clean"
	switch {
	case r.PowerLoss && r.Records+r.Dropped > 0:
		how = fmt.Sprintf("loss of power: %d changes replayed, %d dropped that were not synced", r.Records, r.Dropped)
	case r.Records > 0:
		how = fmt.Sprintf("crash: %d changes replayed", r.Records)
	}
	if r.TornBytes > 0 {
		how += fmt.Sprintf(", %d torn bytes cut", r.TornBytes)
	}
	if r.Orphans > 0 {
		how += fmt.Sprintf(", %d unlinked inodes forgotten", r.Orphans)
	}
	if len(r.SetAside) > 0 {
		how += ", damaged journals kept: " + strings.Join(r.SetAside, " ")
	}
	return how
}

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
	resumes  bool     // among these is a whole record
	durable  uint64   // the highest record that a marker anywhere says was durable
	headless bool     // the header was never written
}

func (r *readSegment) lastSeq() uint64 { return r.firstSeq + uint64(len(r.records)) - 1 }

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
	if string(b[:7]) != string(headerMagic) || crc32.Checksum(b[:60], castagnoli) != binary.BigEndian.Uint32(b[60:]) {
		return nil, &ErrDamaged{File: path, What: "its header is not as it was written"}
	}
	if b[7] != journalVersion {
		return nil, fmt.Errorf("%s: %w", path, ErrNewerSchema{Found: uint64(b[7]), Known: journalVersion})
	}
	salt := binary.BigEndian.Uint64(b[8:])
	r.firstSeq = binary.BigEndian.Uint64(b[16:])
	r.bootID = strings.TrimRight(string(b[24:60]), "\x00")
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
	for len(b) > 0 {
		i := bytes.Index(b[1:], recordMagic)
		if i < 0 {
			return
		}
		b = b[1+i:]
		if rec, n := parseRecord(b, salt); n > 0 {
			r.resumes = true
			r.noteMarker(rec)
		}
	}
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
	lastSeq uint64   // the highest number seen, applied or not
	paths   []string // the files, oldest first
	next    uint64   // the number for the next segment
	found   Recovery
}

// readJournal reads the segments in dir. applied is the last record that bbolt
// has. With salvage, damage ends the replay instead of failing it.
func readJournal(dir, bootID string, applied uint64, salvage bool) (*replay, error) {
	paths, err := listSegments(dir)
	if err != nil {
		return nil, err
	}
	p := &replay{lastSeq: applied, paths: paths, next: 1}
	if len(paths) > 0 {
		p.next = segmentNumber(paths[len(paths)-1]) + 1
	}
	segments, err := p.parseAll(salvage)
	if err != nil {
		return nil, err
	}
	all, err := p.chain(segments, bootID, applied)
	if err != nil {
		if !salvage {
			return nil, err
		}
		p.found.SetAside = paths
	}
	p.choose(all, applied)
	return p, nil
}

func (p *replay) parseAll(salvage bool) ([]*readSegment, error) {
	var segments []*readSegment
	for _, path := range p.paths {
		r, err := parseSegment(path)
		var damaged *ErrDamaged
		if salvage && errors.As(err, &damaged) {
			r = &readSegment{path: path, headless: true, rest: 1, resumes: true}
		} else if err != nil {
			return nil, err
		}
		segments = append(segments, r)
	}
	return segments, nil
}

// chain puts the records of all segments in a row up to the first that is
// missing, and tells whether it may be missing.
func (p *replay) chain(segments []*readSegment, bootID string, applied uint64) (all []record, err error) {
	var durable uint64
	for _, r := range segments {
		durable = max(durable, r.durable)
		p.found.PowerLoss = p.found.PowerLoss || !r.headless && r.bootID != bootID
		if n := len(r.records); n > 0 {
			p.lastSeq = max(p.lastSeq, r.records[n-1].seq)
		}
	}
	want := applied + 1
	for i, r := range segments {
		if !r.headless && (i == 0 && r.firstSeq > want || i > 0 && r.firstSeq != want) {
			return all, &ErrDamaged{File: r.path, What: fmt.Sprintf("it starts with record %d, and %d is missing", r.firstSeq, want)}
		}
		all = append(all, r.records...)
		if !r.headless {
			want = r.lastSeq() + 1
		}
		if r.rest == 0 && !r.headless {
			continue
		}
		last := i == len(segments)-1
		if durable >= want || !p.found.PowerLoss && (!last || r.resumes) {
			return all, &ErrDamaged{File: r.path, What: fmt.Sprintf("record %d is broken, and later ones are not", want)}
		}
		p.found.TornBytes += r.rest
		return all, nil
	}
	return all, nil
}

// choose takes the records that bbolt lacks; after a loss of power only those
// that a marker covers, since the staged bytes of later ones may be missing.
func (p *replay) choose(all []record, applied uint64) {
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
			p.found.Dropped++
		}
	}
	p.found.Records = len(p.records)
}

// clear removes the files that were replayed, the newest first, so that what is
// left after a crash is still the beginning of the row.
func (p *replay) clear(dir string) error {
	for _, path := range slices.Backward(p.paths) {
		var err error
		if len(p.found.SetAside) > 0 {
			err = os.Rename(path, strings.Replace(path, segmentPrefix, "damaged-", 1))
		} else {
			err = os.Remove(path)
		}
		if err != nil {
			return err
		}
	}
	return syncDir(dir)
}
