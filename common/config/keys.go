package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Key is one key of a configuration file.
type Key struct {
	Path    string // from the top of the file: targets[].tls.ca_file, auth_modules.NAME.targets
	Type    string // in words
	Default string // as one would write it, "" where there is none
	Help    string // a sentence
}

// Keys lists what a configuration file may hold, in the order of the fields: of the struct that ReadYAML reads into.
// Each field with a yaml tag tells its meaning in a tag help, in one sentence; a tag key names what the keys of a map
// are (NAME where it is left out), a tag type what the value is, where its Go type does not say so. What of holds is
// what counts without the file: lists and maps may have one element for that. A key without a help text is an error.
func Keys(of any) ([]Key, error) {
	var all []Key
	err := walk(reflect.ValueOf(of), "", &all)
	return all, err
}

func walk(v reflect.Value, path string, all *[]Key) error {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		inner, way := descend(v.Field(i), field.Tag.Get("key"))
		switch {
		case strings.Contains(options, "inline"):
			if err := walk(inner, path, all); err != nil {
				return err
			}
			continue
		case name == "" || name == "-":
			continue
		}
		key, err := describe(field, path+name)
		if err != nil {
			return err
		}
		if field.Type.Kind() == reflect.Map && !isSection(inner.Type()) { // of single values: the names are the keys
			key.Path = strings.TrimSuffix(key.Path+way, "[]")
			if field.Tag.Get("type") == "" {
				key.Type = typeName(field.Type.Elem())
			}
		}
		if !isSection(inner.Type()) {
			key.Default = written(v.Field(i))
			*all = append(*all, key)
			continue
		}
		*all = append(*all, key)
		if err := walk(inner, key.Path+way+".", all); err != nil {
			return err
		}
	}
	return nil
}

// describe reads the tags of a field.
func describe(field reflect.StructField, path string) (Key, error) {
	key := Key{Path: path, Type: field.Tag.Get("type"), Help: field.Tag.Get("help")}
	if !strings.HasSuffix(key.Help, ".") {
		return key, fmt.Errorf("%s, field %s: the tag help must say in a sentence what it means", path, field.Name)
	}
	if key.Type == "" {
		key.Type = typeName(field.Type)
	}
	return key, nil
}

// descend goes from a pointer, list or map to what is in it, and tells how that is written in a path.
func descend(v reflect.Value, name string) (inner reflect.Value, way string) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			v = reflect.New(v.Type().Elem())
		}
		return descend(v.Elem(), name)
	case reflect.Slice:
		if v.Len() == 0 {
			v = reflect.MakeSlice(v.Type(), 1, 1)
		}
		inner, way = descend(v.Index(0), name)
		return inner, "[]" + way
	case reflect.Map:
		element := reflect.Zero(v.Type().Elem())
		for _, key := range v.MapKeys() {
			element = v.MapIndex(key)
		}
		if name == "" {
			name = "NAME"
		}
		inner, way = descend(element, "")
		return inner, "." + name + way
	}
	return v, ""
}

// isSection tells whether a type has keys of its own.
func isSection(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !reflect.PointerTo(t).Implements(reflect.TypeFor[yaml.Unmarshaler]())
}

func typeName(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "duration"
	case t == reflect.TypeFor[Secret]():
		return "secret"
	case isSection(t):
		return "section"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeName(t.Elem())
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64, reflect.Uint8, reflect.Float64:
		return "number"
	case reflect.Slice:
		return "list of " + plural(typeName(t.Elem()))
	case reflect.Map:
		return "map to " + plural(typeName(t.Elem()))
	}
	return "text"
}

func plural(name string) string {
	if strings.HasPrefix(name, "list") {
		return strings.Replace(name, "list", "lists", 1)
	}
	return name + "s"
}

// written gives a value as one would write it, "" where it is nothing.
func written(v reflect.Value) string {
	switch {
	case v.Kind() == reflect.Bool:
		return strconv.FormatBool(v.Bool())
	case v.IsZero():
		return ""
	case v.Kind() == reflect.Pointer:
		return written(v.Elem())
	case v.Kind() == reflect.Slice:
		var parts []string
		for i := range v.Len() {
			parts = append(parts, written(v.Index(i)))
		}
		if text := strings.Join(parts, ", "); text != "" {
			return "[" + text + "]"
		}
		return ""
	case v.Type() == reflect.TypeFor[time.Duration]():
		return shortDuration(v.Interface().(time.Duration))
	case v.Kind() == reflect.Map:
		return ""
	}
	return fmt.Sprint(v.Interface())
}

// shortDuration leaves out the zeros at the end: 1m, not 1m0s.
func shortDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
