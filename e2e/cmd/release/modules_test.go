package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A module whose licence asks for more than we give, or is none that we know, stops a release.
func TestLicences(t *testing.T) {
	apache, err := os.ReadFile("../../../LICENSE")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		files map[string]string // by their paths in the module
		want  string            // the error, or "" for none
	}{
		"allowed":         {map[string]string{"LICENSE": string(apache)}, ""},
		"allowed, twice":  {map[string]string{"LICENSE": string(apache), "a/License.txt": string(apache)}, ""},
		"forbidden":       {map[string]string{"COPYING": notice("Affero General", "3")}, "COPYING is under AGPL-3.0"},
		"forbidden below": {map[string]string{"LICENSE": string(apache), "a/LICENSE": notice("General", "2")}, "a/LICENSE is under GPL-2.0"},
		"unknown":         {map[string]string{"LICENSE": "Whoever reads this may do with it as they like, on Sundays."}, "LICENSE is not a licence that we know"},
		"none":            {map[string]string{"README": string(apache), "license.go": "package license"}, "no licence was found"},
		"not linked":      {map[string]string{"LICENSE": string(apache), "b/LICENSE": notice("Affero General", "3")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for path, text := range test.files {
				path = filepath.Join(root, path)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.MkdirAll(filepath.Join(root, "a", "deep"), 0o700); err != nil {
				t.Fatal(err)
			}
			var m module
			err := m.read(root, []string{root, filepath.Join(root, "a", "deep")})
			switch {
			case test.want == "" && (err != nil || strings.Join(m.licences, " ") != "Apache-2.0"):
				t.Errorf("%v: %v, want Apache-2.0", m.licences, err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

// notice is what the Free Software Foundation has its users write above their code.
func notice(name, version string) string {
	return "This program is free software: you can redistribute it and/or modify it under the terms of the GNU " + name +
		" Public License as published by the Free Software Foundation, either version " + version +
		" of the License, or (at your option) any later version.\n"
}
