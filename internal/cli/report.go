package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"chatfs/index"
	"chatfs/internal/blob"
	"chatfs/internal/transfer"
	"chatfs/remote"
)

// A report is what chatfs status shows.
type report struct {
	Mountpoint string       `json:"mountpoint,omitempty"` // "" while not mounted
	Dead       bool         `json:"dead,omitempty"`       // its process was killed, and the mount is left
	Ending     bool         `json:"ending,omitempty"`     // unmounted, and finishing its uploads
	Problem    string       `json:"problem,omitempty"`    // why no more is told
	PID        int          `json:"pid,omitempty"`
	Since      time.Time    `json:"since,omitzero"`
	Profile    string       `json:"profile"`
	StateDir   string       `json:"state_dir"`
	CacheDir   string       `json:"cache_dir,omitempty"`
	Service    string       `json:"service"`
	Address    string       `json:"address,omitempty"`
	Close      string       `json:"close,omitempty"`
	Inodes     int          `json:"inodes"` // files, directories, symlinks
	Waiting    int          `json:"waiting"`
	Bytes      int64        `json:"waiting_bytes"`
	Uploading  int          `json:"uploading"`
	Local      int          `json:"local"`                 // never sent under their names
	Open       []string     `json:"open,omitempty"`        // being written, or when the process ended; not sent before they are closed
	Rescued    int          `json:"rescued,omitempty"`     // files in RescuedDir
	RescuedDir string       `json:"rescued_dir,omitempty"` // "" while there are none
	Paused     time.Time    `json:"paused_since,omitzero"` // the service takes no upload
	PausedWhy  string       `json:"paused_why,omitempty"`
	Failed     []failedFile `json:"failed,omitempty"`
	Retrying   []failedFile `json:"retrying,omitempty"`
	Expired    []string     `json:"expired,omitempty"` // neither at the service nor here
	CacheBytes int64        `json:"cache_bytes"`
	CacheLimit int64        `json:"cache_limit,omitempty"`
	Pinned     int64        `json:"pinned_bytes"` // of files that the service forgets
	Keep       string       `json:"keep,omitempty"`
	Retention  string       `json:"retention,omitempty"` // "" is for ever

	Prefetch *transfer.PrefetchStats `json:"prefetch,omitempty"` // while mounted
	Pace     *remote.Pace            `json:"pace,omitempty"`     // likewise
}

// A failedFile could not be uploaded, for good or till now.
type failedFile struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	Reason string `json:"reason"`
	Tries  int    `json:"tries,omitempty"`
}

// report tells of the session.
func (s *session) report() (*report, error) {
	r := &report{Mountpoint: s.mountpoint, PID: os.Getpid(), Since: s.started, Profile: s.profile.name,
		StateDir: s.profile.state, CacheDir: s.profile.cache, Service: s.service.name, Address: s.service.base,
		Close: s.options.close.value, CacheLimit: int64(s.options.cacheSize)}
	r.Ending = s.ending.Load()
	ahead := s.transfer.PrefetchStats()
	pace := s.service.client.Pace()
	r.Prefetch, r.Pace = &ahead, &pace
	err := r.count(s.index, func(e index.QueueEntry) (state, reason string) {
		return string(s.transfer.State(e.Ino)), s.transfer.ErrorOf(e.Ino)
	})
	if err != nil {
		return nil, err
	}
	if since, why, paused := s.transfer.Outage(); paused {
		r.Paused, r.PausedWhy = since, why.Error()
	}
	if keeps := span(s.options.keepsFor()); keeps > 0 {
		r.Keep, r.Retention = s.options.keep.value, keeps.String()
	}
	for _, ino := range s.transfer.HeldFiles() {
		r.Open = append(r.Open, pathOf(s.index, ino))
	}
	return r, r.countDisk(s.index, s.blobs)
}

// countDisk fills in what is on the disk.
func (r *report) countDisk(x *index.Index, blobs *blob.Store) error {
	n, dir, err := blobs.Rescued()
	if err != nil {
		return err
	}
	if r.Rescued = n; n > 0 {
		r.RescuedDir = dir
	}
	lost, err := transfer.Lost(x, blobs)
	if err != nil {
		return fmt.Errorf("expired files: %w", err)
	}
	for _, ino := range lost {
		r.Expired = append(r.Expired, pathOf(x, ino))
	}
	if r.Pinned, err = diskUsage(filepath.Join(r.StateDir, blob.PinnedDir)); err != nil {
		return err
	}
	r.CacheBytes, err = diskUsage(r.CacheDir)
	return err
}

// count fills in what the index knows; stateOf tells of an entry's upload.
func (r *report) count(x *index.Index, stateOf func(index.QueueEntry) (state, reason string)) error {
	stats, err := x.Stats()
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	queue, err := x.Queue()
	if err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	r.Inodes = int(stats.Inodes)
	for _, e := range queue {
		state, reason := stateOf(e)
		switch {
		case e.Failed != "":
			r.Failed = append(r.Failed, failedFile{pathOf(x, e.Ino), e.Size, e.Failed, e.Attempts})
			continue
		case state == "local":
			r.Local++
			continue
		case state == "uploading":
			r.Uploading++
		}
		r.Waiting++
		r.Bytes += e.Size
		if e.Attempts > 0 && reason != "" {
			r.Retrying = append(r.Retrying, failedFile{pathOf(x, e.Ino), e.Size, reason, e.Attempts})
		}
	}
	return nil
}

// pathOf is one of an inode's paths, relative to the mount point.
func pathOf(x *index.Index, ino index.Ino) string {
	paths, err := x.Paths(ino)
	if err != nil || len(paths) == 0 {
		return fmt.Sprintf("(inode %d, without a name)", ino)
	}
	return strings.TrimPrefix(paths[0], "/")
}

// headline says which tree it is, and how it is.
func (r *report) headline() string {
	since := time.Since(r.Since).Round(time.Second)
	switch {
	case r.Mountpoint == "":
		return fmt.Sprintf("profile %s: not mounted", r.Profile)
	case r.Dead:
		return fmt.Sprintf("%s: dead, its process was killed: mount it again, or clear it with chatfs umount %s", r.Mountpoint, r.Mountpoint)
	case r.Ending:
		return fmt.Sprintf("%s: unmounted after %s, process %d finishes its uploads", r.Mountpoint, since, r.PID)
	case r.Problem != "":
		return fmt.Sprintf("%s: mounted from %s", r.Mountpoint, r.Service)
	}
	return fmt.Sprintf("%s: mounted for %s by process %d, close means %s", r.Mountpoint, since, r.PID, r.Close)
}

// print writes the report for a person.
func (r *report) print(w io.Writer) {
	fmt.Fprintln(w, plain(r.headline()))
	if r.Problem != "" {
		fmt.Fprintf(w, "  problem   %s\n", plain(r.Problem))
		return
	}
	service := r.Service
	if r.Address != "" && r.Address != service {
		service += ", at " + r.Address
	}
	fmt.Fprintf(w, "  service   %s\n", service)
	fmt.Fprintf(w, "  profile   %s (%s)\n", r.Profile, r.StateDir)
	fmt.Fprintf(w, "  tree      %d files, directories and links\n", max(r.Inodes-1, 0))
	fmt.Fprintf(w, "  queue     %s (%s) waiting, %d of them uploading, %d failed, %d local\n",
		plural(r.Waiting, "file"), formatSize(r.Bytes), r.Uploading, len(r.Failed), r.Local)
	if r.PausedWhy != "" {
		fmt.Fprintf(w, "  paused    for %s, and tried again: %s\n", time.Since(r.Paused).Round(time.Second), plain(r.PausedWhy))
	}
	if r.Pace != nil {
		printPace(w, r.Pace)
	}
	if r.CacheLimit > 0 {
		fmt.Fprintf(w, "  cache     %s of %s\n", formatSize(r.CacheBytes), formatSize(r.CacheLimit))
	}
	if r.Pinned > 0 {
		fmt.Fprintf(w, "  pinned    %s of files that the service forgets\n", formatSize(r.Pinned))
	}
	printFiles(w, "failed", r.Failed)
	printFiles(w, "retrying", r.Retrying)
	r.printExpired(w)
	r.printOpen(w)
	if r.Rescued > 0 {
		fmt.Fprintf(w, "  rescued   %s that no record names: see %s\n", plural(r.Rescued, "file"), filepath.Join(r.RescuedDir, "list.txt"))
	}
}

// printPace tells what holds requests up: the rate that the service takes, if it
// takes less than it is asked, and the pauses that it wants.
func printPace(w io.Writer, p *remote.Pace) {
	if p.Refused > 0 || p.Rate < p.Most {
		fmt.Fprintf(w, "  rate      %.3g of at most %s requests a second; %d refused as too many, held back for %s since the mount\n",
			p.Rate, limitText(p.Most), p.Refused, p.Held.Round(time.Second))
	}
	for _, x := range p.Pauses {
		fmt.Fprintf(w, "  pause     %s, until %s: the service asked for %s\n", x.Of, x.Until.Format(time.TimeOnly), x.Asked.Round(time.Second))
	}
}

func limitText(most float64) string {
	if most == 0 {
		return "any"
	}
	return fmt.Sprintf("%g", most)
}

// maxListed bounds the list of files on a terminal; --json has all.
const maxListed = 50

func printFiles(w io.Writer, word string, files []failedFile) {
	for i, f := range files {
		if i == maxListed {
			fmt.Fprintf(w, "  … and %d more (chatfs status --json)\n", len(files)-i)
			return
		}
		fmt.Fprintf(w, "  %-9s %q (%s): %s\n", word, f.Path, formatSize(f.Size), plain(f.Reason))
	}
}

// printOpen lists the files that somebody writes.
func (r *report) printOpen(w io.Writer) {
	what := "being written; it is sent once it is closed"
	if r.Mountpoint == "" {
		what = "it was being written when chatfs ended; the next mount sees to it"
	}
	for i, path := range r.Open {
		if i == maxListed {
			fmt.Fprintf(w, "  … and %d more (chatfs status --json)\n", len(r.Open)-i)
			return
		}
		fmt.Fprintf(w, "  %-9s %q: %s\n", "open", path, what)
	}
}

// printExpired lists the files whose content is lost.
func (r *report) printExpired(w io.Writer) {
	for i, path := range r.Expired {
		if i == maxListed {
			fmt.Fprintf(w, "  … and %d more (chatfs status --json)\n", len(r.Expired)-i)
			return
		}
		fmt.Fprintf(w, "  %-9s %q: the service has forgotten it, and there is no copy here\n", "expired", path)
	}
}
