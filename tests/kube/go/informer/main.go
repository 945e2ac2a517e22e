// Follows the pods of Kubernetes clusters as a Go program would that cares for its costs: what bench/kube_watch.py compares with.
//
//	informer NAMESPACE SELECTOR MARK KUBECONFIG...
//
// One shared informer for each kubeconfig, over protobuf, without compression; objects are cut down to the fields that Astra keeps of
// a pod before they are stored, texts that repeat are kept once. It prints "synced N" when all lists are in, then "T NAME" for each
// pod of the pool MARK when its handler hears that it was added (T: nanoseconds since 1970). A line on its input is answered with
// "events N rows N". What the first list took is given back to the system once.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

const pool = "astra-ray.dev/pool"

// What is kept of a pod. ObjectMeta holds its name, uid, version and times alone.
type pod struct {
	metav1.ObjectMeta
	installation, pool, template, node, ip, reason, message string
	restarts                                                int32
	phase                                                   corev1.PodPhase
	ready, scheduled, unschedulable, disrupted              bool
}

var (
	known  sync.Map
	events atomic.Int64
)

// Texts of which thousands of pods have the same one.
func once(text string) string {
	kept, _ := known.LoadOrStore(text, text)
	return kept.(string)
}

func conditions(from *corev1.Pod, to *pod) {
	for i := range from.Status.Conditions {
		c := &from.Status.Conditions[i]
		yes := c.Status == corev1.ConditionTrue
		switch c.Type {
		case corev1.PodReady:
			to.ready = yes
		case corev1.PodScheduled:
			if !yes {
				to.unschedulable = c.Reason == corev1.PodReasonUnschedulable
				to.reason, to.message = once(c.Reason), c.Message
			}
		case corev1.DisruptionTarget:
			if yes {
				to.disrupted = true
				to.reason, to.message = once(c.Reason), c.Message
			}
		}
	}
}

func reduce(object any) (any, error) {
	from, ok := object.(*corev1.Pod)
	if !ok {
		return object, nil
	}
	to := &pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: from.Name, Namespace: once(from.Namespace), UID: from.UID, ResourceVersion: from.ResourceVersion,
			CreationTimestamp: from.CreationTimestamp, DeletionTimestamp: from.DeletionTimestamp,
		},
		installation: once(from.Labels["astra-ray.dev/installation"]), pool: once(from.Labels[pool]),
		template: once(from.Labels["astra-ray.dev/template"]), node: once(from.Spec.NodeName), ip: from.Status.PodIP,
		reason: once(from.Status.Reason), message: from.Status.Message, phase: corev1.PodPhase(once(string(from.Status.Phase))),
		scheduled: from.Spec.NodeName != "",
	}
	conditions(from, to)
	for i := range from.Status.ContainerStatuses {
		to.restarts += from.Status.ContainerStatuses[i].RestartCount
	}
	return to, nil
}

func client(kubeconfig string) (*rest.RESTClient, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme() // of pods alone: the whole of client-go's costs memory
	if err := corev1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	config.GroupVersion = &schema.GroupVersion{Version: "v1"}
	config.APIPath = "/api"
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	config.ContentType = runtime.ContentTypeProtobuf
	config.AcceptContentTypes = runtime.ContentTypeProtobuf
	config.DisableCompression = true
	return rest.RESTClientFor(config)
}

func follow(kubeconfig, namespace, selector, mark string, out chan<- string) (cache.SharedIndexInformer, error) {
	c, err := client(kubeconfig)
	if err != nil {
		return nil, err
	}
	source := cache.NewFilteredListWatchFromClient(c, "pods", namespace, func(o *metav1.ListOptions) { o.LabelSelector = selector })
	informer := cache.NewSharedIndexInformer(source, &corev1.Pod{}, 0, cache.Indexers{})
	if err := informer.SetTransform(reduce); err != nil {
		return nil, err
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc: func(object any) {
			events.Add(1)
			if p := object.(*pod); p.pool == mark {
				out <- fmt.Sprintf("%d %s", time.Now().UnixNano(), p.Name)
			}
		},
		UpdateFunc: func(_, _ any) { events.Add(1) },
		DeleteFunc: func(any) { events.Add(1) },
	}
	_, err = informer.AddEventHandler(handler)
	return informer, err
}

func run(namespace, selector, mark string, kubeconfigs []string) error {
	out := make(chan string, 1000)
	var informers []cache.SharedIndexInformer
	rows := func() (n int) {
		for _, i := range informers {
			n += len(i.GetStore().ListKeys())
		}
		return n
	}
	for _, kubeconfig := range kubeconfigs {
		informer, err := follow(kubeconfig, namespace, selector, mark, out)
		if err != nil {
			return err
		}
		informers = append(informers, informer)
		go informer.RunWithContext(context.Background())
	}
	for _, i := range informers {
		if !cache.WaitForCacheSync(nil, i.HasSynced) {
			return fmt.Errorf("not synced")
		}
	}
	debug.FreeOSMemory()
	fmt.Printf("synced %d\n", rows())
	go func() {
		for line := range out {
			fmt.Println(line)
		}
	}()
	for input := bufio.NewScanner(os.Stdin); input.Scan(); {
		out <- fmt.Sprintf("events %d rows %d", events.Load(), rows())
	}
	return nil
}

func main() {
	if len(os.Args) < 5 {
		fmt.Fprintln(os.Stderr, "usage: informer NAMESPACE SELECTOR MARK KUBECONFIG...")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
