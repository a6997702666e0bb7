package docs

import (
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Every link within the repository leads to a file, folder, picture or heading that is there.
func TestLinksLeadSomewhere(t *testing.T) {
	files, err := repositoryFiles()
	if err != nil {
		t.Fatal(err)
	}
	anchors := map[string][]string{}
	for _, d := range documents(t) {
		anchors[d.path] = d.anchors
	}
	for _, d := range documents(t) {
		for _, l := range d.links {
			if isExternal(l.destination) {
				continue
			}
			target, fragment := d.leads(l)
			switch at := slices.Index(files, target); {
			case strings.HasPrefix(target, ".."):
				t.Errorf("%s:%d: %s leads out of the repository", d.path, l.line, l.destination)
			case at < 0 && !isFolder(files, target):
				t.Errorf("%s:%d: %s: there is no %s", d.path, l.line, l.destination, target)
			case l.image && !slices.Contains([]string{".png", ".svg", ".jpg"}, path.Ext(target)):
				t.Errorf("%s:%d: %s is no picture", d.path, l.line, l.destination)
			case fragment != "" && !slices.Contains(anchors[target], fragment):
				t.Errorf("%s:%d: %s: %s has no heading #%s, but %q", d.path, l.line, l.destination, target, fragment, anchors[target])
			}
		}
	}
}

// leads tells to which file or folder of the repository a link leads, and to which heading.
func (d *document) leads(l link) (target, fragment string) {
	target, fragment, _ = strings.Cut(l.destination, "#")
	if unescaped, err := url.PathUnescape(target); err == nil {
		target = unescaped
	}
	if target == "" {
		return d.path, fragment
	}
	return path.Join(path.Dir(d.path), target), fragment
}

func isExternal(destination string) bool {
	at, err := url.Parse(destination)
	return err == nil && at.Scheme != ""
}

func isFolder(files []string, target string) bool {
	return target == "." || slices.ContainsFunc(files, func(file string) bool { return strings.HasPrefix(file, target+"/") })
}

// Links to other places are https, and look like one: what is there is not asked, since tests use no network.
func TestExternalLinks(t *testing.T) {
	found := 0
	for _, d := range documents(t) {
		for _, l := range d.links {
			if !isExternal(l.destination) {
				continue
			}
			found++
			at, err := url.Parse(l.destination)
			if err != nil || !goodURL(at) {
				t.Errorf("%s:%d: %s must be https://host/…", d.path, l.line, l.destination)
			}
		}
	}
	if found == 0 {
		t.Error("no link was found")
	}
}

func goodURL(at *url.URL) bool {
	host := at.Hostname()
	switch {
	case at.Scheme == "http" && (host == "localhost" || strings.HasPrefix(host, "127.")): // what a reader has started himself
		return true
	case at.Scheme != "https" || at.User != nil || strings.ContainsAny(at.String(), " <>`,"):
		return false
	}
	labels := strings.Split(host, ".")
	return len(labels) > 1 && !slices.Contains(labels, "") && !strings.Contains(at.Path, "//") && !strings.HasSuffix(at.Path, ".")
}

func TestGoodURL(t *testing.T) {
	for text, want := range map[string]bool{
		"https://prometheus.io/docs/practices/naming/": true, "http://localhost:9090": true,
		"http://prometheus.io/": false, "https://prometheus": false, "https://prometheus..io/": false, "htps://prometheus.io": false,
		"https://prometheus.io/docs//naming": false, "https://a@prometheus.io": false, "https://prometheus.io/x.": false,
	} {
		at, err := url.Parse(text)
		if err != nil || goodURL(at) != want {
			t.Errorf("%s: %v, %v; want %v", text, err == nil && goodURL(at), err, want)
		}
	}
}

// A reader gets from the README or the list of documents to each of them. A link to a folder leads to what is in it.
func TestDocumentsAreReachable(t *testing.T) {
	all := map[string]*document{}
	for _, d := range documents(t) {
		all[d.path] = d
	}
	reached := map[string]bool{}
	todo := []string{"README.md", "docs/README.md"}
	for len(todo) > 0 {
		at := todo[0]
		todo = todo[1:]
		d := all[at]
		if d == nil || reached[at] {
			continue
		}
		reached[at] = true
		for _, l := range d.links {
			if target, _ := d.leads(l); !isExternal(l.destination) {
				todo = append(todo, target)
				for other := range all {
					if path.Dir(other) == target {
						todo = append(todo, other)
					}
				}
			}
		}
	}
	for _, d := range documents(t) {
		if strings.HasPrefix(d.path, "docs/") && !reached[d.path] {
			t.Errorf("no link leads to %s: add one to docs/README.md", d.path)
		}
	}
}

// content reads a file of the repository.
func content(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
