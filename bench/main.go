package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are the command's flags.
type options struct {
	rounds    int
	targets   string
	workloads string
	latency   time.Duration
	dir       string
	json      string
	chatfs    string
	flags     string
	profile   string
	keep      bool
}

const usage = `Measures chatfs beside the disk, go-fuse's loopback and rclone, in alternating
rounds, and prints a Markdown table of medians, spread and ratios.

usage: go run ./bench [flags]

`

func parse(args []string) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.IntVar(&o.rounds, "rounds", 3, "`times` that each target does the workloads")
	f.StringVar(&o.targets, "targets", "", "comma-separated `names`, of "+strings.Join(names(targets), ", ")+" (default: all that can be had)")
	f.StringVar(&o.workloads, "workloads", "", "comma-separated `names`, of "+strings.Join(names(workloads), ", ")+" (default: all)")
	f.DurationVar(&o.latency, "latency", 0, "`time` that the service takes longer for each request; targets without a service are left out")
	f.StringVar(&o.dir, "dir", "", "`directory` to work in, on the disk to be measured (default: one below the system's for temporary files)")
	f.StringVar(&o.json, "json", "", "write all values to this `file` as JSON")
	f.StringVar(&o.chatfs, "chatfs", "", "the chatfs `program` (default: built from this module)")
	f.StringVar(&o.flags, "chatfs-flags", "", "more `flags` of chatfs mount, separated by spaces")
	f.StringVar(&o.profile, "profile", "", "write profiles of chatfs to this `directory`, for each workload and mount, for go tool pprof; the times are not to be trusted then")
	f.BoolVar(&o.keep, "keep", false, "leave the directory behind")
	f.Usage = func() {
		fmt.Fprint(f.Output(), usage)
		f.PrintDefaults()
		fmt.Fprintln(f.Output(), "\nworkloads:")
		for _, w := range workloads {
			fmt.Fprintf(f.Output(), "  %-8s %s\n", w.name, w.help)
		}
		fmt.Fprintln(f.Output(), "\ntargets:")
		for _, t := range targets {
			fmt.Fprintf(f.Output(), "  %-18s %s\n", t.name, t.help)
		}
	}
	err := f.Parse(args)
	if err == nil && f.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	return o, err
}

func main() {
	if spec := os.Getenv(loopbackEnv); spec != "" {
		exit(serveLoopback(spec, os.Args[1], os.Args[2]))
	}
	if prefix := os.Getenv(profileEnv); prefix != "" {
		exit(beProfiled(prefix, os.Args[1:]))
	}
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		err = o.run(ctx)
	}
	exit(err)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// named is a row of a table that flags choose from.
type named interface{ label() string }

func names[T named](table []T) (list []string) {
	for _, row := range table {
		list = append(list, row.label())
	}
	return list
}

// choose picks the rows that a flag lists, in the table's order.
func choose[T named](table []T, list string) ([]T, error) {
	if list == "" {
		return table, nil
	}
	wanted := strings.Split(list, ",")
	for _, w := range wanted {
		if !slices.Contains(names(table), w) {
			return nil, fmt.Errorf("there is no %q, but %s", w, strings.Join(names(table), ", "))
		}
	}
	var chosen []T
	for _, row := range table {
		if slices.Contains(wanted, row.label()) {
			chosen = append(chosen, row)
		}
	}
	return chosen, nil
}
