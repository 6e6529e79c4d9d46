// external-secrets' own reconcilers of SecretStores and PushSecrets, for the example of docs/push-secret.md. Nothing runs
// for its other kinds, and no webhook, metrics server or leader election. What its command settles by flags is settled
// here to the same defaults, but for four workers. The reconcilers import, and so register, all of its providers.
package main

import (
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	esv1 "github.com/external-secrets/external-secrets/apis/externalsecrets/v1"
	esv1alpha1 "github.com/external-secrets/external-secrets/apis/externalsecrets/v1alpha1"
	genv1alpha1 "github.com/external-secrets/external-secrets/apis/generators/v1alpha1"
	"github.com/external-secrets/external-secrets/pkg/controllers/common"
	"github.com/external-secrets/external-secrets/pkg/controllers/metrics"
	"github.com/external-secrets/external-secrets/pkg/controllers/pushsecret"
	"github.com/external-secrets/external-secrets/pkg/controllers/pushsecret/psmetrics"
	"github.com/external-secrets/external-secrets/pkg/controllers/secretstore"
	"github.com/external-secrets/external-secrets/pkg/controllers/secretstore/ssmetrics"
	"github.com/external-secrets/external-secrets/pkg/feature"
)

const (
	class        = "default"
	storeRequeue = 5 * time.Minute
	pushRequeue  = time.Hour
	workers      = 4
)

func main() {
	ctrl.SetLogger(zap.New())
	if err := run(); err != nil {
		ctrl.Log.Error(err, "ended")
		os.Exit(1)
	}
}

func run() error {
	manager, err := newManager()
	if err != nil {
		return err
	}
	if err := addReconcilers(manager); err != nil {
		return err
	}
	for _, one := range feature.Features() { // how its providers get ready
		if one.Initialize != nil {
			one.Initialize()
		}
	}
	return manager.Start(ctrl.SetupSignalHandler())
}

// newManager reads Secrets from the API server each time, as its command does: what is pushed is never a stale copy.
func newManager() (ctrl.Manager, error) {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(esv1.AddToScheme(scheme))
	utilruntime.Must(esv1alpha1.AddToScheme(scheme))
	utilruntime.Must(genv1alpha1.AddToScheme(scheme)) // it looks for generators' state before each push
	config, err := ctrl.GetConfig()
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = 50, 100
	uncached := []client.Object{&corev1.Secret{}, &corev1.ConfigMap{}}
	return ctrl.NewManager(config, ctrl.Options{
		Scheme:  scheme,
		Metrics: server.Options{BindAddress: "0"},
		Client:  client.Options{Cache: &client.CacheOptions{DisableFor: uncached}},
	})
}

// addReconcilers registers their metrics too: they write them whether anybody looks or not.
func addReconcilers(manager ctrl.Manager) error {
	metrics.SetUpLabelNames(false)
	ssmetrics.SetUpMetrics()
	psmetrics.SetUpMetrics()
	store := &secretstore.StoreReconciler{
		Client:          manager.GetClient(),
		Log:             ctrl.Log.WithName("SecretStore"),
		Scheme:          manager.GetScheme(),
		ControllerClass: class,
		RequeueInterval: storeRequeue,
	}
	if err := store.SetupWithManager(manager, options()); err != nil {
		return err
	}
	push := &pushsecret.Reconciler{
		Client:          manager.GetClient(),
		Log:             ctrl.Log.WithName("PushSecret"),
		Scheme:          manager.GetScheme(),
		ControllerClass: class,
		RestConfig:      manager.GetConfig(),
		RequeueInterval: pushRequeue,
	}
	return push.SetupWithManager(manager, options())
}

func options() controller.Options {
	return controller.Options{MaxConcurrentReconciles: workers, RateLimiter: common.BuildRateLimiter()}
}
