package qdrant

import (
	"embed"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
)

//go:embed testdata/*.json
var descriptions embed.FS

// Shapes is the published description of a version's interface, as far as it tells of shapes.
type Shapes struct {
	Operations map[string]struct {
		Request  *shape `json:"request"`
		Response *shape `json:"response"`
	} `json:"operations"`
	Schemas map[string]*shape `json:"schemas"`
}

// shape is a schema in the way of OpenAPI 3.0.
type shape struct {
	Ref        string            `json:"$ref"`
	Type       string            `json:"type"`
	Nullable   bool              `json:"nullable"`
	Enum       []any             `json:"enum"`
	Properties map[string]*shape `json:"properties"`
	Required   []string          `json:"required"`
	Items      *shape            `json:"items"`
	AnyOf      []*shape          `json:"anyOf"`
	OneOf      []*shape          `json:"oneOf"`
	AllOf      []*shape          `json:"allOf"`
	Minimum    *float64          `json:"minimum"`
	Additional json.RawMessage   `json:"additionalProperties"`
}

// Describe gives the description of 1.7.4 or 1.19.0.
func Describe(version string) (*Shapes, error) {
	content, err := descriptions.ReadFile("testdata/" + version + ".json")
	if err != nil {
		return nil, err
	}
	var s Shapes
	return &s, json.Unmarshal(content, &s)
}

// Check tells in what a request that was answered, or the answer, is not of the described shape. Operations that are
// not described have none.
func (s *Shapes) Check(r Request) error {
	operation, known := s.Operations[r.Operation]
	if !known || r.Status != 200 {
		return nil
	}
	if operation.Request != nil {
		if err := s.checkText(operation.Request, r.Body); err != nil {
			return fmt.Errorf("request %s %s: %w", r.Operation, r.Body, err)
		}
	}
	if operation.Response != nil {
		if err := s.checkText(operation.Response, r.Answer); err != nil {
			return fmt.Errorf("answer to %s: %w", r.Operation, err)
		}
	}
	return nil
}

func (s *Shapes) checkText(to *shape, text []byte) error {
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		return err
	}
	return s.check(to, value, "")
}

func (s *Shapes) check(to *shape, value any, at string) error {
	if to.Ref != "" {
		named := s.Schemas[to.Ref[strings.LastIndex(to.Ref, "/")+1:]]
		if named == nil {
			return fmt.Errorf("%s: the description lacks %s", at, to.Ref)
		}
		return s.check(named, value, at)
	}
	for _, part := range to.AllOf {
		if err := s.check(part, value, at); err != nil {
			return err
		}
	}
	if value == nil {
		if to.Nullable || to.Type == "" && len(to.AnyOf)+len(to.OneOf) == 0 || s.any(append(to.AnyOf, to.OneOf...), value, at) == nil && len(to.AnyOf)+len(to.OneOf) > 0 {
			return nil
		}
		return fmt.Errorf("%s is null", at)
	}
	if choices := append(slices.Clone(to.AnyOf), to.OneOf...); len(choices) > 0 {
		return s.any(choices, value, at)
	}
	if len(to.Enum) > 0 && !slices.Contains(to.Enum, value) {
		return fmt.Errorf("%s: %v is none of %v", at, value, to.Enum)
	}
	return s.checkType(to, value, at)
}

func (s *Shapes) any(choices []*shape, value any, at string) error {
	var first error
	for _, choice := range choices {
		err := s.check(choice, value, at)
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return first
}

func (s *Shapes) checkType(to *shape, value any, at string) error {
	wrong := fmt.Errorf("%s: %v is no %s", at, value, to.Type)
	switch to.Type {
	case "object":
		object, is := value.(map[string]any)
		if !is {
			return wrong
		}
		return s.checkObject(to, object, at)
	case "array":
		list, is := value.([]any)
		if !is {
			return wrong
		}
		for i, element := range list {
			if err := s.check(to.Items, element, fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
	case "string":
		if _, is := value.(string); !is {
			return wrong
		}
	case "boolean":
		if _, is := value.(bool); !is {
			return wrong
		}
	case "integer", "number":
		number, is := value.(float64)
		if !is || to.Type == "integer" && number != math.Trunc(number) || to.Minimum != nil && number < *to.Minimum {
			return wrong
		}
	}
	return nil
}

func (s *Shapes) checkObject(to *shape, object map[string]any, at string) error {
	for _, name := range to.Required {
		if _, there := object[name]; !there {
			return fmt.Errorf("%s lacks %s", at, name)
		}
	}
	var additional shape
	closed := string(to.Additional) == "false"
	open := len(to.Additional) > 0 && json.Unmarshal(to.Additional, &additional) == nil
	for name, value := range object {
		property := to.Properties[name]
		switch {
		case property == nil && closed:
			return fmt.Errorf("%s has %s, which is not described", at, name)
		case property == nil && open:
			property = &additional
		case property == nil:
			continue
		}
		if err := s.check(property, value, at+"."+name); err != nil {
			return err
		}
	}
	return nil
}
