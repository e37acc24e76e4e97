// Command chatfs mounts the files of a chat service as a directory.
package main

import (
	"os"

	"chatfs/internal/cli"
)

func main() {
	os.Exit(cli.Execute(os.Args[1:]))
}
