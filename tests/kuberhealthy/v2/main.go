// A check of Kuberhealthy v2 without anything to check. It waits for Kuberhealthy, and prints the deadline, if asked to;
// then it reports through Kuberhealthy's own client: its arguments are the errors, none is success.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"

	"github.com/kuberhealthy/kuberhealthy/v2/pkg/checks/external/checkclient"
	"github.com/kuberhealthy/kuberhealthy/v2/pkg/checks/external/nodeCheck"
)

func main() {
	failed := flag.Bool("failed", false, "report a failure, even without errors")
	wait := flag.Bool("wait", false, "wait for Kuberhealthy, and print the deadline")
	flag.Parse()
	checkclient.Debug = true
	if *wait {
		if err := nodeCheck.WaitForKuberhealthy(context.Background()); err != nil {
			log.Fatal(err)
		}
		deadline, err := checkclient.GetDeadline()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(deadline.Unix())
	}
	report := checkclient.ReportSuccess
	if *failed || flag.NArg() > 0 {
		report = func() error { return checkclient.ReportFailure(flag.Args()) }
	}
	if err := report(); err != nil {
		log.Fatal(err)
	}
}
