// Command bench measures chatfs beside what it is compared with: the disk
// itself and go-fuse's loopback, plain and tuned, and rclone where that is
// installed. All targets do the same work in alternating rounds of one run,
// so that what else the machine does meets them alike; medians, their spread
// and the ratios are printed as Markdown or JSON.
//
//	go run ./bench -h
//
// What is measured is in workload.go, what on in target.go.
package main
