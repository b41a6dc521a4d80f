package main
import (
	"context"
	"os"
	"path/filepath"
	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	kcm "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)
func main() {
	f := map[string]func() *cobra.Command{
		"kube-apiserver": apiserver.NewAPIServerCommand, "kube-controller-manager": kcm.NewControllerManagerCommand,
		"kube-scheduler": func() *cobra.Command { return scheduler.NewSchedulerCommand() },
		"kubelet":        func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
		"kube-proxy":     proxy.NewProxyCommand, "kubectl": kubectl.NewDefaultKubectlCommand,
	}[filepath.Base(os.Args[0])]
	if f == nil {
		println("start me by the name of a component")
		os.Exit(2)
	}
	os.Exit(cli.Run(f()))
}
