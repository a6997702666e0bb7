package kubernetes

import (
	"fmt"
	"strings"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/e2e/kubernetes/cluster"
)

// TestServerTakesAll: a real API server, whose namespaces ask for the Pod Security Standard "restricted", takes every
// object without a warning, and tells afterwards of as many as there are.
func TestServerTakesAll(t *testing.T) {
	c := cluster.Start(t)
	for i, r := range renderings(t) {
		t.Run(r.name, func(t *testing.T) {
			namespace := fmt.Sprintf("test-%d", i)
			c.Run(t, "", "create", "namespace", namespace)
			c.Run(t, "", "label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted", "pod-security.kubernetes.io/warn=restricted")
			if len(r.objects) == 0 {
				return
			}
			said := c.Run(t, r.text, "apply", "--namespace="+namespace, "--filename=-")
			if got := strings.Count(said, " created\n"); got != len(r.objects) || strings.Contains(strings.ToLower(said), "warning") {
				t.Errorf("of %d objects %d are created, or there is a warning:\n%s", len(r.objects), got, said)
			}
		})
	}
	// What shows that the above can fail.
	out, err := c.Try("{apiVersion: v1, kind: Service, metadata: {name: wrong}, spec: {ports: [{port: 123456}]}}", "apply", "--filename=-")
	if err == nil || !strings.Contains(out, "123456") {
		t.Errorf("a port that there cannot be is taken: %s", out)
	}
	c.Run(t, "", "create", "serviceaccount", "--namespace=test-0", "default") // which a controller would make
	out, err = c.Try("{apiVersion: v1, kind: Pod, metadata: {name: root}, spec: {containers: [{name: a, image: a}]}}",
		"apply", "--namespace=test-0", "--filename=-")
	if err == nil || !strings.Contains(out, "violates PodSecurity") {
		t.Errorf("a pod that may become root is taken: %s", out)
	}
}
