package main

import (
	"strings"
	"testing"
)

// TestReportComparesMedians holds the direction of ratios: above 1, chatfs is
// the better one.
func TestReportComparesMedians(t *testing.T) {
	r := newResults(&options{rounds: 3})
	for target, values := range map[string]map[string][]float64{
		"chatfs": {"hot read": {900, 3000, 1000}, "rsync": {2, 1, 30}},
		"disk":   {"hot read": {500, 490, 510}, "rsync": {4, 4, 4}},
	} {
		for metric, list := range values {
			for _, v := range list {
				r.add(target, metric, v)
			}
		}
	}
	for metric, want := range map[string]string{"hot read": "2.00", "rsync": "2.00"} {
		less := metric == "rsync"
		if got := ratio(r.Values["chatfs"][metric], r.Values["disk"][metric], less); got != want {
			t.Errorf("%s: %s, want %s", metric, got, want)
		}
	}
	var b strings.Builder
	r.markdown(&b)
	if !strings.Contains(b.String(), "1000 (900 – 3000)") {
		t.Errorf("the table lacks chatfs's median and spread:\n%s", b.String())
	}
}

func TestChooseKeepsTheTablesOrder(t *testing.T) {
	got, err := choose(workloads, "names,small")
	if err != nil || len(got) != 2 || got[0].name != "small" || got[1].name != "names" {
		t.Errorf("%v, %v", names(got), err)
	}
	if _, err := choose(targets, "tape"); err == nil || !strings.Contains(err.Error(), "disk") {
		t.Errorf("an unknown name: %v", err)
	}
}
