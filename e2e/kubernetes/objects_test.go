package kubernetes

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"go.yaml.in/yaml/v3"

	"github.com/alfred-agent-platform/backend-exporters/e2e/kubernetes/derive"
)

type selector struct {
	MatchLabels map[string]string `yaml:"matchLabels"`
}

func (s selector) matches(all map[string]string) bool { return matches(s.MatchLabels, all) }

func matches(wanted, all map[string]string) bool {
	for name, value := range wanted {
		if all[name] != value {
			return false
		}
	}
	return len(wanted) > 0
}

type container struct {
	Image string
	Args  []string
	Env   []struct{ Name, Value string }
	Ports []struct {
		Name          string
		ContainerPort int `yaml:"containerPort"`
	}
	LivenessProbe   check       `yaml:"livenessProbe"`
	ReadinessProbe  check       `yaml:"readinessProbe"`
	SecurityContext yaml.Node   `yaml:"securityContext"`
	VolumeMounts    []mount     `yaml:"volumeMounts"`
	Resources       resourceSet `yaml:"resources"`
}

type resourceSet struct{ Requests, Limits map[string]string }

type mount struct {
	Name      string
	MountPath string `yaml:"mountPath"`
	ReadOnly  bool   `yaml:"readOnly"`
}

type check struct {
	HTTPGet   *struct{ Path, Port, Scheme string } `yaml:"httpGet"`
	TCPSocket *struct{ Port string }               `yaml:"tcpSocket"`
}

type volume struct {
	Name      string
	ConfigMap *struct{ Name string } `yaml:"configMap"`
	Secret    *struct {
		SecretName  string `yaml:"secretName"`
		DefaultMode string `yaml:"defaultMode"`
	}
}

type deployment struct {
	Replicas int
	Selector selector
	Template struct {
		Metadata struct{ Labels, Annotations map[string]string }
		Spec     struct {
			ServiceAccountName           string `yaml:"serviceAccountName"`
			AutomountServiceAccountToken *bool  `yaml:"automountServiceAccountToken"`
			SecurityContext              struct {
				RunAsNonRoot   bool                  `yaml:"runAsNonRoot"`
				RunAsUser      int                   `yaml:"runAsUser"`
				FSGroup        int64                 `yaml:"fsGroup"`
				SeccompProfile struct{ Type string } `yaml:"seccompProfile"`
			} `yaml:"securityContext"`
			Containers []container
			Volumes    []volume
		}
	}
}

type service struct {
	Selector map[string]string
	Ports    []struct {
		Name       string
		Port       int
		TargetPort string `yaml:"targetPort"`
	}
}

// TestRenderings checks everything that the chart makes, and the plain manifests.
func TestRenderings(t *testing.T) {
	all := renderings(t)
	for name, check := range map[string]func(*testing.T, rendering){
		"manifests are valid":              manifestsAreValid,
		"selectors choose their own":       selectorsChooseTheirOwn,
		"deployments share no pods":        deploymentsShareNoPods,
		"pods are confined":                podsAreConfined,
		"references lead":                  referencesLead,
		"monitors find services":           monitorsFindServices,
		"probes reach their targets once":  probesReachTheirTargetsOnce,
		"network policies open the port":   networkPoliciesOpenThePort,
		"programs take what pods are told": programsTakeWhatPodsAreTold,
	} {
		for _, r := range all {
			t.Run(name+"/"+r.name, func(t *testing.T) { check(t, r) })
		}
	}
}

func of(objects []object, kind string) []object {
	return slices.DeleteFunc(slices.Clone(objects), func(o object) bool { return o.Kind != kind })
}

// chosen gives the components of the pods that a selector chooses.
func chosen(t *testing.T, objects []object, s selector) []string {
	t.Helper()
	found := map[string]bool{}
	for _, o := range of(objects, "Deployment") {
		if pod := spec[deployment](t, o).Template.Metadata; s.matches(pod.Labels) {
			found[pod.Labels["app.kubernetes.io/component"]] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// selectorsChooseTheirOwn holds that whatever chooses pods chooses those of its own component and no others.
func selectorsChooseTheirOwn(t *testing.T, r rendering) {
	objects := r.objects
	for _, o := range objects {
		var s selector
		switch o.Kind {
		case "Deployment":
			s = spec[deployment](t, o).Selector
		case "Service":
			s.MatchLabels = spec[service](t, o).Selector
		case "PodDisruptionBudget":
			s = spec[struct{ Selector selector }](t, o).Selector
		case "NetworkPolicy":
			s = spec[struct {
				PodSelector selector `yaml:"podSelector"`
			}](t, o).PodSelector
		default:
			continue
		}
		if got := chosen(t, objects, s); !slices.Equal(got, []string{o.Metadata.Labels["app.kubernetes.io/component"]}) {
			t.Errorf("%s chooses the pods of %q", o.is(), got)
		}
	}
}

// deploymentsShareNoPods holds that each pod belongs to one Deployment, and is reached by one Service.
func deploymentsShareNoPods(t *testing.T, r rendering) {
	objects := r.objects
	for _, o := range of(objects, "Deployment") {
		pod := spec[deployment](t, o).Template.Metadata.Labels
		var owners, ways int
		for _, other := range objects {
			switch {
			case other.Kind == "Deployment" && spec[deployment](t, other).Selector.matches(pod):
				owners++
			case other.Kind == "Service" && matches(spec[service](t, other).Selector, pod):
				ways++
			}
		}
		if owners != 1 || ways != 1 {
			t.Errorf("%s: its pods belong to %d Deployments and are reached by %d Services", o.is(), owners, ways)
		}
	}
}

// podsAreConfined holds what the Pod Security Standard "restricted" asks for, and some more.
func podsAreConfined(t *testing.T, r rendering) {
	dockerfile := read(t, filepath.Join(root(t), "Dockerfile"))
	user := regexp.MustCompile(`(?m)^USER (\d+):`).FindStringSubmatch(dockerfile)
	if user == nil || !strings.Contains(dockerfile, "\nEXPOSE 9091\n") {
		t.Fatal("the Dockerfile names no number as its user, or another port")
	}
	objects := r.objects
	for _, o := range of(objects, "Deployment") {
		pod := spec[deployment](t, o).Template.Spec
		var c struct {
			AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
			ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
			Capabilities             struct{ Drop []string }
		}
		if err := pod.Containers[0].SecurityContext.Decode(&c); err != nil {
			t.Fatal(err)
		}
		if c.AllowPrivilegeEscalation == nil || *c.AllowPrivilegeEscalation || !c.ReadOnlyRootFilesystem || !slices.Equal(c.Capabilities.Drop, []string{"ALL"}) {
			t.Errorf("%s: the container is not confined: %+v", o.is(), c)
		}
		if p := pod.SecurityContext; !p.RunAsNonRoot || p.SeccompProfile.Type != "RuntimeDefault" || user[1] != "65534" || p.RunAsUser != 65534 || p.FSGroup != 65534 {
			t.Errorf("%s: the pod is not confined, or its user is not the Dockerfile's: %+v", o.is(), p)
		}
		if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
			t.Errorf("%s gets a token of its service account", o.is())
		}
		if pod.Containers[0].Resources.Limits["memory"] == "" {
			t.Errorf("%s may take any amount of memory", o.is())
		}
		for _, v := range pod.Volumes {
			if v.Secret != nil && v.Secret.DefaultMode != "0440" {
				t.Errorf("%s: everybody in the pod may read %s: %q", o.is(), v.Name, v.Secret.DefaultMode)
			}
		}
	}
}

// referencesLead holds that what an object names is there: volumes, ConfigMaps, service accounts, ports.
func referencesLead(t *testing.T, r rendering) {
	objects := r.objects
	names := kindsOf(objects)
	if unique := slices.Compact(slices.Clone(names)); len(unique) != len(names) {
		t.Errorf("two objects of one name: %q", names)
	}
	for _, o := range of(objects, "Deployment") {
		pod := spec[deployment](t, o).Template.Spec
		if account := pod.ServiceAccountName; account != "shared" && !slices.Contains(names, "ServiceAccount "+account) {
			t.Errorf("%s: no service account %s", o.is(), account)
		}
		volumes := map[string]bool{}
		for _, v := range pod.Volumes {
			volumes[v.Name] = true
			if v.ConfigMap != nil && v.Name == "config" && !slices.Contains(names, "ConfigMap "+v.ConfigMap.Name) {
				t.Errorf("%s: no ConfigMap %s", o.is(), v.ConfigMap.Name)
			}
		}
		for _, m := range pod.Containers[0].VolumeMounts {
			if !volumes[m.Name] || !m.ReadOnly {
				t.Errorf("%s: %s is no volume, or one to write to", o.is(), m.Name)
			}
		}
		if ports := pod.Containers[0].Ports; len(ports) != 1 || ports[0].Name != "http" || ports[0].ContainerPort != 9091 {
			t.Errorf("%s has the ports %v", o.is(), ports)
		}
	}
	for _, o := range of(objects, "Service") {
		if ports := spec[service](t, o).Ports; len(ports) != 1 || ports[0].Name != "http" || ports[0].TargetPort != "http" {
			t.Errorf("%s has the ports %v", o.is(), ports)
		}
	}
}

// monitorsFindServices holds that each ServiceMonitor finds Services of its component with the port that it names, under
// a job that the alert rules know.
func monitorsFindServices(t *testing.T, r rendering) {
	jobs := regexp.MustCompile(`up\{job=~"([^"]+)"\} == 0`).FindStringSubmatch(read(t, filepath.Join(root(t), "alerts/health.yml")))
	if jobs == nil {
		t.Fatal("the alert rules name no jobs")
	}
	known := strings.Split(jobs[1], "|")
	var services []object
	for _, file := range manifestFiles(t) {
		services = append(services, of(parse(t, read(t, file)), "Service")...)
	}
	objects := r.objects
	for _, o := range of(objects, "ServiceMonitor") {
		m := spec[struct {
			JobLabel  string `yaml:"jobLabel"`
			Selector  selector
			Endpoints []struct{ Port, Path string }
		}](t, o)
		var found int
		for _, s := range append(of(objects, "Service"), services...) {
			if !m.Selector.matches(s.Metadata.Labels) {
				continue
			}
			found++
			if job := s.Metadata.Labels[m.JobLabel]; !slices.Contains(known, job) || job != o.Metadata.Labels["app.kubernetes.io/component"] {
				t.Errorf("%s: the job of %s is %q", o.is(), s.is(), job)
			}
			if spec[service](t, s).Ports[0].Name != m.Endpoints[0].Port {
				t.Errorf("%s: %s has no port %q", o.is(), s.is(), m.Endpoints[0].Port)
			}
		}
		if found == 0 {
			t.Errorf("%s finds no Service", o.is())
		}
	}
}

// networkPoliciesOpenThePort holds that a policy lets Prometheus in to the port of the container and to nothing else, and,
// where it limits what pods may reach, leaves them DNS.
func networkPoliciesOpenThePort(t *testing.T, r rendering) {
	type port struct{ Port, Protocol string }
	found := of(r.objects, "NetworkPolicy")
	for _, o := range found {
		p := spec[struct {
			PolicyTypes []string `yaml:"policyTypes"`
			Ingress     []struct {
				From  []any
				Ports []port
			}
			Egress []struct {
				To    []any
				Ports []port
			}
		}](t, o)
		if len(p.Ingress) != 1 || len(p.Ingress[0].From) == 0 || !slices.Equal(p.Ingress[0].Ports, []port{{"http", "TCP"}}) {
			t.Errorf("%s lets in %v", o.is(), p.Ingress)
		}
		if len(p.Egress) != 2 || !slices.Equal(p.Egress[0].Ports, []port{{"53", "UDP"}, {"53", "TCP"}}) || !slices.Contains(p.PolicyTypes, "Egress") {
			t.Errorf("%s lets out to %v", o.is(), p.Egress)
		}
	}
	if want := map[string]int{"everything": 3}[r.name]; len(found) != want {
		t.Errorf("%d policies, want %d", len(found), want)
	}
}

type probe struct {
	JobName string `yaml:"jobName"`
	Prober  struct{ URL, Path string }
	Targets struct {
		StaticConfig struct {
			Static            []string
			Labels            map[string]string
			RelabelingConfigs []struct {
				SourceLabels  []string `yaml:"sourceLabels"`
				Action, Regex string
				Replacement   *string
				Modulus       uint64
				Target        string `yaml:"targetLabel"`
			} `yaml:"relabelingConfigs"`
		} `yaml:"staticConfig"`
	}
}

// parameters are those of the request for a target, or nil where the Probe leaves it out. It begins as Prometheus
// Operator does: with the target in __param_target.
func (p probe) parameters(t *testing.T, target string) map[string]string {
	t.Helper()
	builder := labels.NewBuilder(labels.FromStrings("__param_target", target))
	for _, r := range p.Targets.StaticConfig.RelabelingConfigs {
		written := map[string]any{"source_labels": r.SourceLabels, "target_label": r.Target}
		if r.Action != "" {
			written["action"] = r.Action
		}
		if r.Replacement != nil {
			written["replacement"] = *r.Replacement
		}
		if r.Regex != "" {
			written["regex"] = r.Regex
		}
		if r.Modulus != 0 {
			written["modulus"] = r.Modulus
		}
		if r.Target == "" {
			delete(written, "target_label")
		}
		config := relabelConfig(t, written)
		if !relabel.ProcessBuilder(builder, config) {
			return nil
		}
	}
	return builder.Labels().Map()
}

// probesReachTheirTargetsOnce holds that each target of a list is asked for by one shard, through a Service that is
// there, by the right parameters.
func probesReachTheirTargetsOnce(t *testing.T, r rendering) {
	objects := r.objects
	hosts := map[string]bool{}
	for _, o := range of(objects, "Service") {
		hosts[o.Metadata.Name+".monitoring.svc:"+portOf(t, o)] = true
	}
	asked, listed := map[string]int{}, map[string]bool{}
	for _, o := range of(objects, "Probe") {
		p := spec[probe](t, o)
		if !hosts[p.Prober.URL] || p.Prober.Path != "/probe" {
			t.Errorf("%s asks %s%s", o.is(), p.Prober.URL, p.Prober.Path)
		}
		for _, target := range p.Targets.StaticConfig.Static {
			listed[target] = true
			parameters := p.parameters(t, target)
			if parameters == nil {
				continue
			}
			asked[target]++
			name := "__param_auth_module"
			if p.JobName == "smtp" {
				name = "__param_module"
			}
			if parameters[name] == "" {
				t.Errorf("%s asks for %s with %v", o.is(), target, parameters)
			}
		}
	}
	for target := range listed {
		if asked[target] != 1 {
			t.Errorf("%s is asked for %d times", target, asked[target])
		}
	}
	if want := map[string]int{"sharded": 10, "everything": 3}[r.name]; len(listed) != want {
		t.Errorf("the Probes list %d targets, want %d", len(listed), want)
	}
}

// TestRulesAreTheRepositorys holds that PrometheusRules are the files of alerts/, and that promtool takes them.
func TestRulesAreTheRepositorys(t *testing.T) {
	_, objects := render(t, "testdata/values/everything.yaml")
	found := of(objects, "PrometheusRule")
	if len(found) != 6 {
		t.Errorf("%d PrometheusRules: want health, exporters and those of four exporters", len(found))
	}
	for _, o := range found {
		name := strings.TrimPrefix(o.Metadata.Name, "watch-") + ".yml"
		var want any
		if err := yaml.Unmarshal([]byte(read(t, filepath.Join(root(t), "alerts", name))), &want); err != nil {
			t.Fatal(err)
		}
		if got := spec[any](t, o); !reflect.DeepEqual(got, want) {
			t.Errorf("%s is not alerts/%s", o.is(), name)
		}
		text, err := yaml.Marshal(&o.Spec)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if output, err := run(t, tool(t, "promtool"), "check", "rules", file); err != nil || !strings.Contains(output, "SUCCESS") {
			t.Errorf("promtool does not take %s: %v\n%s", o.is(), err, output)
		}
	}
}

// TestDashboardsAreTheRepositorys holds that a sidecar finds every dashboard, and that Kubernetes takes them: a ConfigMap
// may hold 1 MiB, and kubectl apply keeps the object in an annotation of at most 256 KiB.
func TestDashboardsAreTheRepositorys(t *testing.T) {
	_, objects := render(t, "testdata/values/everything.yaml")
	seen := map[string]bool{}
	for _, o := range of(objects, "ConfigMap") {
		if o.Metadata.Labels["grafana_dashboard"] != "1" {
			continue
		}
		for name, text := range o.Data {
			seen[name] = true
			if text != read(t, filepath.Join(root(t), "dashboards", name)) {
				t.Errorf("%s is not dashboards/%s", o.is(), name)
			}
		}
		var whole any
		if err := o.whole.Decode(&whole); err != nil {
			t.Fatal(err)
		}
		if applied, err := json.Marshal(whole); err != nil || len(applied) > 256<<10 {
			t.Errorf("%s is %d bytes: kubectl apply refuses more than 262144: %v", o.is(), len(applied), err)
		}
		if o.Metadata.Annotations["grafana_folder"] != "Backends" {
			t.Errorf("%s lacks its folder", o.is())
		}
	}
	files, err := filepath.Glob(filepath.Join(root(t), "dashboards/*.json"))
	if err != nil || len(files) != len(seen) {
		t.Errorf("%d dashboards of %d: %v", len(seen), len(files), err)
	}
}

// TestNoSecretIsRendered holds that the chart makes no Secret, and that what it names of one is a path.
func TestNoSecretIsRendered(t *testing.T) {
	for _, values := range valueFiles(t) {
		text, objects := render(t, values)
		if len(of(objects, "Secret")) > 0 || strings.Contains(text, "secretKeyRef") {
			t.Errorf("%s: the chart makes a Secret, or puts one into the environment", values)
		}
	}
}

func TestImages(t *testing.T) {
	version := strings.TrimSpace(read(t, filepath.Join(root(t), "VERSION")))
	images := map[string]string{}
	for _, values := range []string{"postgres", "vectordb", "everything"} {
		_, objects := render(t, "testdata/values/"+values+".yaml")
		for _, o := range of(objects, "Deployment") {
			images[o.Metadata.Name] = spec[deployment](t, o).Template.Spec.Containers[0].Image
		}
	}
	want := map[string]string{
		"backend-exporters-postgres":  "ghcr.io/alfred-agent-platform/backend-exporters/postgres-exporter:" + version,
		"backend-exporters-vector-db": "ghcr.io/alfred-agent-platform/backend-exporters/vector-db-exporter:" + version,
		"watch-postgres":              "registry.example/mirror/postgres-exporter:9.9.9",
		"watch-vector-db":             "registry.example/mirror/vector-db-exporter:9.9.9",
		"watch-smtp":                  "registry.example/mirror/smtp-exporter:9.9.9",
		"watch-redis":                 "registry.example/mirror/redis-exporter@sha256:" + strings.Repeat("0123456789abcdef", 4),
	}
	if !maps.Equal(images, want) {
		t.Errorf("the images are %v, want %v", images, want)
	}
}

// TestConfigurationRollsOut holds that pods are made anew when their configuration changes, and not otherwise.
func TestConfigurationRollsOut(t *testing.T) {
	sum := func(arguments ...string) string {
		text, err := derive.Render(tool(t, "helm"), chart(t), append([]string{"--values=testdata/values/smtp.yaml"}, arguments...)...)
		if err != nil {
			t.Fatal(err)
		}
		return spec[deployment](t, of(parse(t, text), "Deployment")[0]).Template.Metadata.Annotations["checksum/config"]
	}
	before := sum()
	if before == "" || before != sum("--set=smtp.serviceMonitor.enabled=true") || before == sum("--set-string=smtp.config.modules.submission.port=25") {
		t.Errorf("the checksum of the configuration is %q, and does not follow it", before)
	}
}

// TestKustomization holds that it lists the manifests that are there.
func TestKustomization(t *testing.T) {
	folder := filepath.Join(root(t), "deploy/kubernetes")
	var k struct{ Resources []string }
	if err := yaml.Unmarshal([]byte(read(t, filepath.Join(folder, "kustomization.yaml"))), &k); err != nil {
		t.Fatal(err)
	}
	if len(k.Resources) != 4 {
		t.Errorf("it lists %q", k.Resources)
	}
	for _, name := range k.Resources {
		if objects := parse(t, read(t, filepath.Join(folder, name))); len(of(objects, "Deployment")) != 1 || len(of(objects, "Secret")) != 1 {
			t.Errorf("%s is no exporter with its Secret", name)
		}
	}
}
