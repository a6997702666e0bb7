package servers

import (
	"context"
	"net/http"
	"testing"
	"time"
)

func TestPgvectorHasTheExtension(t *testing.T) {
	p := NewPgvector(t, PostgresOptions{})
	nearest, err := p.Query(t.Context(), "postgres", `
		CREATE TABLE points (v vector(2));
		INSERT INTO points VALUES ('[0,1]'), ('[1,0]');
		CREATE INDEX ON points USING hnsw (v vector_cosine_ops);
		SELECT v FROM points ORDER BY v <=> '[1,0.1]' LIMIT 1`)
	if err != nil || nearest != "[1,0]" {
		t.Errorf("the nearest is %q, %v", nearest, err)
	}
}

func TestChromaKeepsItsPlace(t *testing.T) {
	c := NewChroma(t)
	url := c.URL()
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(t.Context()); err != nil || c.URL() != url {
		t.Fatalf("%s, before %s: %v", c.URL(), url, err)
	}
}

func TestWeaviateAsksForAKeyAndIsAloneInItsNetwork(t *testing.T) {
	w := NewWeaviate(t)
	status := func(url, key string) int {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+key)
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		return answer.StatusCode
	}
	if got := status(w.URL()+"/v1/meta", WeaviateReadKey); got != http.StatusOK {
		t.Errorf("with a key: %d", got)
	}
	if got := status(w.URL()+"/v1/meta", "wrong"); got != http.StatusUnauthorized {
		t.Errorf("with a wrong key: %d", got)
	}
	if got := status(w.MetricsURL(), ""); got != http.StatusOK {
		t.Errorf("its own metrics: %d", got)
	}
	for _, port := range w.others {
		if w.door != nil && PortFree(port) != nil {
			t.Errorf("port %d is open in the machine's network", port)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := w.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := w.Start(ctx); err != nil {
		t.Fatal(err)
	}
}
