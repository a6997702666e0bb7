package mailbox

import (
	"maps"
	"slices"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/mark"
)

func TestAuthentication(t *testing.T) {
	for name, c := range map[string]struct {
		fields []string
		want   map[string]string
	}{
		"none":     {nil, nil},
		"no check": {[]string{"mx.example.org; none"}, nil},
		"gmail": {[]string{`mx.google.com; dkim=pass header.i=@example.org header.s=s1 header.b=abc; arc=pass (i=1; dkim=pass);
 spf=pass (google.com: domain of a@b.c designates 1.2.3.4 as permitted sender) smtp.mailfrom=a@b.c; dmarc=fail (p=NONE sp=NONE dis=NONE) header.from=b.c`},
			map[string]string{"dkim": "pass", "arc": "pass", "spf": "pass", "dmarc": "fail"}},
		"another's word below": {[]string{"mx.example.org; spf=softfail", "forged.example; dkim=pass"}, map[string]string{"spf": "softfail"}},
		"two fields of one":    {[]string{"mx.example.org; spf=none", "mx.example.org; dkim=permerror"}, map[string]string{"spf": "none", "dkim": "permerror"}},
		"the best signature":   {[]string{"mx 1; dkim=fail; dkim=pass; dkim=neutral"}, map[string]string{"dkim": "pass"}},
		"unknown":              {[]string{"mx; spf=Splendid; x-magic=pass; iprev=fail"}, map[string]string{"spf": "other"}},
		"not readable":         {[]string{"mx; spf=pass; nonsense; dkim=pass"}, map[string]string{"spf": "pass"}},
		"open comment":         {[]string{"mx; spf=pass (a\\) b; dkim=pass"}, map[string]string{"spf": "pass"}},
	} {
		got := Found{Header: mark.Header{"Authentication-Results": c.fields}}.Authentication()
		if !maps.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func FuzzAuthentication(f *testing.F) {
	f.Add("mx.example.org; spf=pass (a; b) smtp.mailfrom=\"x;y\"; dkim=fail")
	f.Fuzz(func(t *testing.T, value string) {
		for check, verdict := range (Found{Header: mark.Header{"Authentication-Results": {value}}}).Authentication() {
			if !slices.Contains(Checks(), check) || !slices.Contains(Verdicts(), verdict) {
				t.Errorf("%q, %q", check, verdict)
			}
		}
	})
}
