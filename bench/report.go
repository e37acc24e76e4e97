package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
)

// metrics are what the workloads record, in the order of the table.
var metrics = []struct {
	name, title string
	less        bool // is better
}{
	{"small written", "cp -r of 500 x 4 KiB, files/s until cp returns", false},
	{"small uploaded", "… until all is at the service", false},
	{"large written", "cp of 20 x 9.5 MiB, MiB/s until cp returns", false},
	{"large uploaded", "… until all is at the service", false},
	{"cold read", "cold read of those, one after the other, MiB/s", false},
	{"first byte", "first byte of a cold 9.5 MiB file, ms", true},
	{"cold chain", "1,000 cold files of 4 KiB, one after the other, files/s", false},
	{"warm read", "warm read (on disk, page cache dropped), MiB/s", false},
	{"hot read", "hot read, MiB/s", false},
	{"random reads", "random 4 KiB reads, page cache dropped, op/s", false},
	{"rsync", "rsync -a of 1,000 files in 50 folders, s", true},
	{"rsync again", "the second rsync, items touched", true},
	{"rsync remounted", "… after a remount", true},
	{"listing remounted", "ls -lR after a remount, entries/s", false},
	{"listing again", "… again", false},
	{"create", "create, op/s", false},
	{"rename", "rename, op/s", false},
	{"unlink", "unlink, op/s", false},
	{"memory", "resident memory, peak of the run, MiB", true},
}

// results are all values of a run.
type results struct {
	Rounds  int
	Latency string                          `json:",omitempty"`
	Values  map[string]map[string][]float64 // target → metric → one a round
	LeftOut map[string]string               `json:",omitempty"` // target → why
	order   []string
}

func newResults(o *options) *results {
	r := &results{Rounds: o.rounds, Values: make(map[string]map[string][]float64), LeftOut: make(map[string]string)}
	if o.latency > 0 {
		r.Latency = o.latency.String()
	}
	return r
}

func (r *results) add(target, metric string, v float64) {
	if r.Values[target] == nil {
		r.Values[target] = make(map[string][]float64)
		r.order = append(r.order, target)
	}
	r.Values[target][metric] = append(r.Values[target][metric], v)
}

func (r *results) leaveOut(target, why string) { r.LeftOut[target] = why }

// print writes the table, and all values as JSON if a file is named.
func (r *results) print(file string) error {
	r.markdown(os.Stdout)
	if file == "" {
		return nil
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}

// markdown prints a row a metric: each target's median and, in brackets, its
// spread, then how chatfs compares to each, above 1 being better.
func (r *results) markdown(w io.Writer) {
	fmt.Fprintf(w, "%d rounds, medians (least – most), %d processors", r.Rounds, runtime.NumCPU())
	if r.Latency != "" {
		fmt.Fprintf(w, ", %s added to each request", r.Latency)
	}
	fmt.Fprintf(w, "\n\n| |%s", strings.Join(r.order, " | "))
	others := slices.DeleteFunc(slices.Clone(r.order), func(t string) bool { return t == "chatfs" })
	compare := len(others) < len(r.order)
	if compare {
		for _, t := range others {
			fmt.Fprintf(w, " | ÷ %s", t)
		}
	}
	columns := len(r.order)
	if compare {
		columns += len(others)
	}
	fmt.Fprintf(w, " |\n|---|%s\n", strings.Repeat("---:|", columns))
	for _, m := range metrics {
		if line := r.row(m.name, m.less, others, compare); line != "" {
			fmt.Fprintf(w, "| %s |%s\n", m.title, line)
		}
	}
	for t, why := range r.LeftOut {
		fmt.Fprintf(w, "\n%s is left out: %s.\n", t, why)
	}
}

func (r *results) row(metric string, less bool, others []string, compare bool) string {
	var b strings.Builder
	any := false
	for _, t := range r.order {
		v := r.Values[t][metric]
		any = any || len(v) > 0
		fmt.Fprintf(&b, " %s |", cell(v))
	}
	if !any {
		return ""
	}
	if compare {
		for _, t := range others {
			fmt.Fprintf(&b, " %s |", ratio(r.Values["chatfs"][metric], r.Values[t][metric], less))
		}
	}
	return b.String()
}

func cell(v []float64) string {
	if len(v) == 0 {
		return "–"
	}
	return fmt.Sprintf("%s (%s – %s)", digits(median(v)), digits(slices.Min(v)), digits(slices.Max(v)))
}

// ratio is how much better ours is than theirs.
func ratio(ours, theirs []float64, less bool) string {
	a, b := median(ours), median(theirs)
	if less {
		a, b = b, a
	}
	if len(ours) == 0 || len(theirs) == 0 || b == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", a/b)
}

// digits prints three that matter.
func digits(v float64) string {
	switch {
	case v >= 100 || v == 0:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
