package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"

	"go.yaml.in/yaml/v3"
)

// ReadYAML reads a YAML file into a struct with yaml tags. A key that the struct lacks, a second document or a value
// of the wrong type is an error that names the file and the line.
func ReadYAML(path string, into any) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("cannot read the configuration file %s: %w", path, cause(err))
	}
	if err := ParseYAML(content, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// ParseYAML is ReadYAML of what was read already. Its errors name the line.
func ParseYAML(content []byte, into any) error {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	switch err := decoder.Decode(into); {
	case errors.Is(err, io.EOF): // an empty file configures nothing
		return nil
	case err != nil:
		return plain(err)
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return errors.New("it holds more than one document")
	}
	return nil
}

// unknownKey is how the YAML library reports a key that a struct lacks, with the name of a Go type that means nothing
// to a user.
var (
	unknownKey = regexp.MustCompile(`field (\S+) not found in type \S+`)
	wrongType  = regexp.MustCompile("cannot unmarshal !!(\\w+)(?: `.*?`)? into \\S+")
)

// plain rewrites the library's errors in a user's words, on one line, without the value: it may be a secret.
func plain(err error) error {
	var typeErr *yaml.TypeError
	if !errors.As(err, &typeErr) {
		return err
	}
	text := typeErr.Errors[0]
	text = unknownKey.ReplaceAllString(text, `unknown key "$1"`)
	text = wrongType.ReplaceAllString(text, "the value has the wrong type ($1)")
	return errors.New(text)
}
