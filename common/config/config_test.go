package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const canary = "hunter2"

// A secret prints as <secret> in every way to print, inside and outside of a struct.
func TestSecretNeverPrints(t *testing.T) {
	type holder struct {
		Secret Secret `json:"secret" yaml:"secret"`
		Inner  *Secret
	}
	s := SecretValue(canary)
	h := holder{s, &s}
	var printed []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T %v"} {
		printed = append(printed, fmt.Sprintf(verb, s), fmt.Sprintf(verb, h), fmt.Sprintf(verb, &s), fmt.Sprintf(verb, []Secret{s}))
	}
	asJSON, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	asYAML, err := yaml.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(handler).Info("x", "secret", s, "pointer", &s, "holder", h)
	}
	printed = append(printed, string(asJSON), string(asYAML), log.String())
	for _, text := range printed {
		if strings.Contains(text, canary) || strings.Contains(text, fmt.Sprintf("%x", canary)) {
			t.Errorf("a secret shows: %s", text)
		}
	}
	if s.String() != "<secret>" || SecretValue("").String() != "" {
		t.Errorf("%q, %q", s, SecretValue(""))
	}
}

func TestSecretForms(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("  from file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CONFIG_TEST_SECRET", "from environment")
	for text, want := range map[string]string{
		"plain":                     "plain",
		"'12'":                      "12",
		"12":                        "12",
		"{file: " + path + "}":      "from file",
		"{env: CONFIG_TEST_SECRET}": "from environment",
	} {
		var s Secret
		if err := yaml.Unmarshal([]byte(text), &s); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := s.Read(); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"{file: a, env: b}": "line 1: a secret is a text, or {file: PATH}, or {env: NAME}",
		"{}":                "line 1: a secret is",
		"[a]":               "line 1: a secret is",
	} {
		var s Secret
		if err := yaml.Unmarshal([]byte(text), &s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	if _, err := SecretFile("/nowhere").Read(); err == nil || err.Error() != "cannot read the secret file /nowhere: no such file or directory" {
		t.Errorf("missing file: %v", err)
	}
	if _, err := SecretEnv("CONFIG_TEST_UNSET").Read(); err == nil || !strings.Contains(err.Error(), "CONFIG_TEST_UNSET") {
		t.Errorf("unset variable: %v", err)
	}
}

// A rotated secret is read at the next use.
func TestSecretIsReadAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	s := SecretFile(path)
	for _, want := range []string{"old", "new"} {
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Read(); err != nil || got != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
}

func TestSecretWarning(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	for mode, warns := range map[os.FileMode]bool{0o600: false, 0o640: false, 0o644: true} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if got := SecretFile(path).Warning(); (got != "") != warns {
			t.Errorf("mode %o: %q", mode, got)
		}
	}
}

func TestParseYAML(t *testing.T) {
	type settings struct {
		Name  string `yaml:"name"`
		Count int    `yaml:"count"`
	}
	for text, want := range map[string]string{
		"":                      "",
		"name: a\ncount: 2":     "",
		"name: a\nfrob: b":      `line 2: unknown key "frob"`,
		"count: hunter2":        "line 1: the value has the wrong type (str)",
		"count: {a: b}":         "line 1: the value has the wrong type (map)",
		"name: a\n---\nname: b": "it holds more than one document",
		"name: [":               "line 1",
		"name: a\nname: b":      "line 2",
	} {
		err := ParseYAML([]byte(text), &settings{})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
		if err != nil && (strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), canary) || strings.Contains(err.Error(), "config.")) {
			t.Errorf("%q: the error is not one line in a user's words: %v", text, err)
		}
	}
}

func FuzzParseYAML(f *testing.F) {
	f.Add("targets: [{a: {file: x}}]")
	f.Add("a: &a [*a]")
	f.Fuzz(func(_ *testing.T, text string) {
		var into struct {
			Targets []map[string]Secret `yaml:"targets"`
		}
		_ = ParseYAML([]byte(text), &into) // it may refuse, and must not panic
	})
}
