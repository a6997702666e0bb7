// Package config reads what users write: strict YAML with line numbers, and secrets that never show.
package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

const masked = "<secret>"

// Secret is a password, key or connection string: given as a value, or as the file or environment variable that holds
// it. It is read anew at each use, so that a rotated secret needs no restart, and prints as <secret> in every format.
//
// In YAML it is a plain string, or {file: PATH}, or {env: NAME}.
type Secret struct {
	value, file, env string
}

// SecretValue is a secret given as it is.
func SecretValue(value string) Secret { return Secret{value: value} }

// SecretFile is a secret held by a file; white space around it does not count.
func SecretFile(path string) Secret { return Secret{file: path} }

// SecretEnv is a secret held by an environment variable.
func SecretEnv(name string) Secret { return Secret{env: name} }

// IsZero tells whether no secret was given.
func (s Secret) IsZero() bool { return s == Secret{} }

// Read gives the secret. The error names the file or variable, never what is in it.
func (s Secret) Read() (string, error) {
	switch {
	case s.file != "":
		content, err := os.ReadFile(s.file)
		if err != nil {
			return "", fmt.Errorf("cannot read the secret file %s: %w", s.file, cause(err))
		}
		return strings.TrimSpace(string(content)), nil
	case s.env != "":
		value, ok := os.LookupEnv(s.env)
		if !ok {
			return "", fmt.Errorf("the environment variable %s, which should hold a secret, is not set", s.env)
		}
		return value, nil
	}
	return s.value, nil
}

// cause leaves the path out, which the message has already.
func cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// Warning says what is unsafe about how the secret is kept, or "".
func (s Secret) Warning() string {
	if s.file == "" {
		return ""
	}
	info, err := os.Stat(s.file)
	if err != nil || info.Mode().Perm()&0o007 == 0 {
		return ""
	}
	return fmt.Sprintf("the secret file %s can be read by every user of this host: chmod o-rwx %s", s.file, s.file)
}

// UnmarshalYAML reads any of the three forms.
func (s *Secret) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		return node.Decode(&s.value)
	}
	var from struct {
		File string `yaml:"file"`
		Env  string `yaml:"env"`
	}
	if err := node.Decode(&from); err != nil || (from.File == "") == (from.Env == "") {
		return fmt.Errorf("line %d: a secret is a text, or {file: PATH}, or {env: NAME}", node.Line)
	}
	s.file, s.env = from.File, from.Env
	return nil
}

// Format prints <secret> whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// String prints <secret>, or nothing where there is none.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return masked
}

// MarshalYAML prints <secret>.
func (s Secret) MarshalYAML() (any, error) { return s.String(), nil }

// MarshalJSON prints <secret>.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// LogValue prints <secret>.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
