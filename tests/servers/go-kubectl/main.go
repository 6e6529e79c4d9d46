// Command kubectl is Kubernetes' own, put together from its published module: k8s.io/kubernetes, where the
// program lives, cannot be named here without the whole of the API server.
package main

import (
	"os"

	"k8s.io/component-base/cli"
	"k8s.io/kubectl/pkg/cmd"
)

func main() {
	os.Exit(cli.Run(cmd.NewDefaultKubectlCommand()))
}
