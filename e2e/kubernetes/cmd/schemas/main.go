// Command schemas writes the JSON schemas that rendered manifests are checked against: those of Kubernetes' own kinds
// from its OpenAPI description, those of Prometheus Operator's from its CustomResourceDefinitions. Both come from Go
// modules. Only the kinds that the chart uses are written, without descriptions, and strictly: a field that is not
// described is an error.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	kubernetes = "k8s.io/kubernetes@v1.34.2"
	operator   = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
)

type object = map[string]any

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: schemas FOLDER")
	}
	if err := write(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func write(folder string) error {
	core, err := module(kubernetes)
	if err != nil {
		return err
	}
	if err := writeCore(filepath.Join(core, "api/openapi-spec/swagger.json"), folder); err != nil {
		return err
	}
	custom, err := module(operator)
	if err != nil {
		return err
	}
	for _, plural := range []string{"servicemonitors", "probes", "prometheusrules"} {
		file := filepath.Join(custom, "example/prometheus-operator-crd/monitoring.coreos.com_"+plural+".yaml")
		if err := writeCustom(file, folder); err != nil {
			return err
		}
	}
	return nil
}

// module gives the folder of a module, which it fetches where it is missing.
func module(name string) (string, error) {
	command := exec.Command("go", "mod", "download", "-json", name)
	command.Dir = os.TempDir() // outside of any module
	command.Env = append(os.Environ(), "GOWORK=off")
	answer, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("go mod download %s: %w\n%s", name, err, answer)
	}
	var told struct{ Dir string }
	err = json.Unmarshal(answer, &told)
	return told.Dir, err
}

// kinds are those of Kubernetes itself, by the names of their files as kubeconform looks for them.
func kinds() map[string]string {
	return map[string]string{
		"deployment-apps-v1":            "io.k8s.api.apps.v1.Deployment",
		"service-v1":                    "io.k8s.api.core.v1.Service",
		"serviceaccount-v1":             "io.k8s.api.core.v1.ServiceAccount",
		"configmap-v1":                  "io.k8s.api.core.v1.ConfigMap",
		"secret-v1":                     "io.k8s.api.core.v1.Secret",
		"networkpolicy-networking-v1":   "io.k8s.api.networking.v1.NetworkPolicy",
		"poddisruptionbudget-policy-v1": "io.k8s.api.policy.v1.PodDisruptionBudget",
	}
}

func writeCore(swagger, folder string) error {
	text, err := os.ReadFile(swagger)
	if err != nil {
		return err
	}
	var description struct{ Definitions map[string]any }
	if err := json.Unmarshal(text, &description); err != nil {
		return err
	}
	definitions := description.Definitions
	// What these are on the wire is not what the description says of them.
	definitions["io.k8s.apimachinery.pkg.util.intstr.IntOrString"] = object{"type": []any{"integer", "string"}}
	definitions["io.k8s.apimachinery.pkg.api.resource.Quantity"] = object{"type": []any{"number", "string"}}
	for file, name := range kinds() {
		used := object{}
		collect(definitions, name, used)
		schema := object{"$schema": "http://json-schema.org/draft-07/schema#", "$ref": "#/definitions/" + name, "definitions": used}
		if err := writeSchema(folder, file, schema); err != nil {
			return err
		}
	}
	return nil
}

// collect adds a definition and all that it refers to.
func collect(definitions map[string]any, name string, used object) {
	if _, done := used[name]; done {
		return
	}
	used[name] = nil
	used[name] = strict(definitions[name])
	for _, reference := range references(used[name]) {
		collect(definitions, reference, used)
	}
}

func references(value any) []string {
	var all []string
	switch v := value.(type) {
	case []any:
		for _, element := range v {
			all = append(all, references(element)...)
		}
	case object:
		for key, element := range v {
			if text, ok := element.(string); ok && key == "$ref" {
				all = append(all, strings.TrimPrefix(text, "#/definitions/"))
				continue
			}
			all = append(all, references(element)...)
		}
	}
	return all
}

func writeCustom(crd, folder string) error {
	text, err := os.ReadFile(crd)
	if err != nil {
		return err
	}
	var definition struct {
		Spec struct {
			Names    struct{ Kind string }
			Versions []struct {
				Name   string
				Schema struct {
					OpenAPIV3Schema object `yaml:"openAPIV3Schema"`
				}
			}
		}
	}
	if err := yaml.Unmarshal(text, &definition); err != nil {
		return err
	}
	version := definition.Spec.Versions[0]
	schema, _ := strict(version.Schema.OpenAPIV3Schema).(object)
	schema["$schema"] = "http://json-schema.org/draft-07/schema#"
	return writeSchema(folder, strings.ToLower(definition.Spec.Names.Kind)+"-monitoring-"+version.Name, schema)
}

// strict copies a schema without what does not check anything, and closes its objects.
func strict(value any) any {
	switch v := value.(type) {
	case []any:
		all := make([]any, len(v))
		for i := range v {
			all[i] = strict(v[i])
		}
		return all
	case object:
		return strictObject(v)
	}
	return value
}

func strictObject(schema object) object {
	closed := object{}
	for key, value := range schema {
		if key == "properties" {
			properties, _ := value.(object)
			closed[key] = strictProperties(properties)
			continue
		}
		_, isText := value.(string)
		if isText && key == "description" || key == "default" || strings.HasPrefix(key, "x-kubernetes-") {
			continue
		}
		closed[key] = strict(value)
	}
	_, has := closed["properties"]
	_, open := closed["additionalProperties"]
	if has && !open && schema["x-kubernetes-preserve-unknown-fields"] != true {
		closed["additionalProperties"] = false
	}
	return closed
}

// strictProperties keeps every name: a property may be called description or default.
func strictProperties(properties object) object {
	all := object{}
	for name, schema := range properties {
		all[name] = strict(schema)
	}
	return all
}

func writeSchema(folder, name string, schema object) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(schema); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, name+".json"), text.Bytes(), 0o644)
}
