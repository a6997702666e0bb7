package qdrant

import (
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/e2e/fakes/qdrant"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backendtest"
)

// Against the FAKE of each version a session does what it promises, and asks and is answered in the described shape.
func TestSession(t *testing.T) {
	for _, version := range []string{"1.7.4", "1.9.0", "1.10.0", "1.12.0", "1.19.0"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			fake := qdrant.New(qdrant.Options{Version: version, Key: "key"})
			server := httptest.NewServer(fake)
			t.Cleanup(server.Close)
			at, err := url.Parse(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			s, err := Open(t.Context(), backend.Endpoint{URL: at, Key: "key", Dial: backendtest.Dial})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.Close)
			backendtest.Check(t, s)
			shapes, err := qdrant.Describe(version)
			if err != nil {
				return // only the oldest and the newest are described
			}
			for _, request := range fake.Requests() {
				if err := shapes.Check(request); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// A full disk and missing rights are told apart, whatever the version answers.
func TestRefusals(t *testing.T) {
	for _, version := range []string{"1.7.4", "1.9.0", "1.19.0"} {
		fake := qdrant.New(qdrant.Options{Version: version, Key: "key", ReadKey: "read"})
		fake.Add("docs", map[string]qdrant.Vector{"": {Size: 2, Distance: "Cosine"}})
		server := httptest.NewServer(fake)
		t.Cleanup(server.Close)
		at, err := url.Parse(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		points, in := []backend.Point{{ID: "1", Vector: []float32{1, 2}}}, backend.Place{Collection: "docs"}
		write := func(key string) error {
			s, err := Open(t.Context(), backend.Endpoint{URL: at, Key: key, Dial: backendtest.Dial})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			return s.Write(t.Context(), in, points)
		}
		lacking := fault.Denied
		if version == "1.7.4" {
			lacking = fault.Auth // it says the same of a wrong key
		}
		for key, want := range map[string]fault.Kind{"key": fault.None, "read": lacking, "wrong": fault.Auth, "": fault.Auth} {
			if err := write(key); fault.Of(err) != want {
				t.Errorf("%s, key %q: %v (%s), want %s", version, key, err, fault.Of(err), want)
			}
		}
		fake.FillDisk(true)
		if err := write("key"); fault.Of(err) != fault.Busy {
			t.Errorf("%s: a full disk: %v (%s)", version, err, fault.Of(err))
		}
	}
}

// Other distances than by cosine are told as the interface has them.
func TestDistances(t *testing.T) {
	for word, want := range map[string][]float64{"Euclid": {0, 5}, "Manhattan": {0, 7}, "Dot": {-25, 0}} {
		for _, version := range []string{"1.7.4", "1.19.0"} {
			fake := qdrant.New(qdrant.Options{Version: version})
			fake.Add("docs", map[string]qdrant.Vector{"v": {Size: 2, Distance: word}})
			fake.Put("docs", 1, []float32{3, 4})
			fake.Put("docs", 18446744073709551615, []float32{0, 0})
			server := httptest.NewServer(fake)
			t.Cleanup(server.Close)
			at, err := url.Parse(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			s, err := Open(t.Context(), backend.Endpoint{URL: at, Dial: backendtest.Dial})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.Close)
			found, err := s.Search(t.Context(), backend.Place{Collection: "docs", Vector: "v"}, []float32{3, 4}, 5)
			if err != nil || len(found.Hits) != 2 || found.Hits[0] != (backend.Hit{ID: "1", Distance: want[0]}) || found.Hits[1] != (backend.Hit{ID: "18446744073709551615", Distance: want[1]}) {
				t.Errorf("%s %s: %+v, %v", version, word, found, err)
			}
			if _, err := s.Search(t.Context(), backend.Place{Collection: "docs"}, []float32{3, 4}, 5); fault.Of(err) != fault.Config {
				t.Errorf("%s %s: a vector that is not there: %v", version, word, err)
			}
		}
	}
}
