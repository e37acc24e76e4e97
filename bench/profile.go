package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"

	"chatfs/internal/cli"
)

// profileEnv makes this program be chatfs, with its profiles written to files
// that begin as it says, instead of measuring.
const profileEnv = "CHATFS_BENCH_PROFILE"

// kinds of profiles besides that of the processor: see runtime/pprof.
var kinds = []string{"allocs", "block", "mutex"}

// beProfiled runs chatfs with these arguments and writes prefix.cpu,
// prefix.allocs and so on when it ends.
func beProfiled(prefix string, args []string) error {
	// A sample for each 10 us that a goroutine waits: each wait would cost more
	// than is measured.
	runtime.SetBlockProfileRate(10_000)
	runtime.SetMutexProfileFraction(10)
	cpu, err := os.Create(prefix + ".cpu")
	if err != nil {
		return err
	}
	defer cpu.Close()
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return err
	}
	code := cli.Execute(args)
	pprof.StopCPUProfile()
	for _, kind := range kinds {
		err = errors.Join(err, writeProfile(kind, prefix+"."+kind))
	}
	if code != 0 {
		err = errors.Join(err, fmt.Errorf("chatfs ended with code %d", code))
	}
	return err
}

func writeProfile(kind, file string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return errors.Join(pprof.Lookup(kind).WriteTo(f, 0), f.Close())
}
