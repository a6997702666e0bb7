package container

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestSetup wants setup.sh to choose what is not chosen, to leave what is, and to derive again what follows from it.
func TestSetup(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	run := func() outcome { return command(t, nil, "deploy/compose/setup.sh", folder) }
	if o := run(); o.code != 0 {
		t.Fatal(o)
	}
	first, secrets := dotenv(t, folder), written(t, folder)
	for name, length := range map[string]int{"DB_ADMIN_PASSWORD": 32, "JWT_SECRET": 64, "REALTIME_ENC_KEY": 16, "REALTIME_KEY_BASE": 64} {
		if len(first[name]) != length {
			t.Errorf("%s has %d characters, want %d", name, len(first[name]), length)
		}
	}
	for _, path := range []string{folder + "/deploy/compose/secrets", folder + "/.env"} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	checkToken(t, first["ANON_KEY"], first["JWT_SECRET"], "anon")
	checkToken(t, first["SERVICE_KEY"], first["JWT_SECRET"], "service_role")

	if o := run(); o.code != 0 || !maps.Equal(dotenv(t, folder), first) || !maps.Equal(written(t, folder), secrets) {
		t.Errorf("a second run changes what is there: %+v", o)
	}

	const chosen = `a_secret_that|somebody/has\1chosen&likes`
	replace(t, folder, first["JWT_SECRET"], chosen)
	replace(t, folder, first["DB_ADMIN_PASSWORD"], "chosen")
	if o := run(); o.code != 0 {
		t.Fatal(o)
	}
	second := dotenv(t, folder)
	checkToken(t, second["ANON_KEY"], chosen, "anon")
	if now := written(t, folder); now["db_admin_password"] != "chosen" || now["realtime_token"] != second["ANON_KEY"] || now["db_password"] != secrets["db_password"] {
		t.Errorf("the files do not follow: %v", now)
	}

	replace(t, folder, second["JWT_SECRET"], "short")
	if o := run(); o.code != 1 || !strings.Contains(o.output, "JWT_SECRET in .env must have 32 to 64 characters") {
		t.Errorf("a short key: %+v", o)
	}
}

func replace(t *testing.T, folder, before, after string) {
	t.Helper()
	path := filepath.Join(folder, ".env")
	text, err := os.ReadFile(path)
	check(t, err)
	check(t, os.WriteFile(path, []byte(strings.ReplaceAll(string(text), "="+before+"\n", "="+after+"\n")), 0o600))
}

// written gives the secrets by their names.
func written(t *testing.T, folder string) map[string]string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(folder, "deploy/compose/secrets/*"))
	check(t, err)
	all := map[string]string{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		check(t, err)
		all[filepath.Base(path)] = string(text)
	}
	return all
}

// checkToken reads a JSON Web Token as RFC 7519 has it, signed as HS256 of RFC 7518.
func checkToken(t *testing.T, token, key, role string) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no token", token)
	}
	sum := hmac.New(sha256.New, []byte(key))
	sum.Write([]byte(parts[0] + "." + parts[1]))
	if want := base64.RawURLEncoding.EncodeToString(sum.Sum(nil)); parts[2] != want {
		t.Errorf("the token of %s is signed %s, want %s", role, parts[2], want)
	}
	for i, want := range []map[string]string{{"alg": `"HS256"`, "typ": `"JWT"`}, {"role": strconv.Quote(role)}} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		check(t, err)
		var got map[string]json.RawMessage
		check(t, json.Unmarshal(text, &got))
		for key, value := range want {
			if string(got[key]) != value {
				t.Errorf("%s of the token of %s is %s, want %s", key, role, got[key], value)
			}
		}
		if expires, err := strconv.ParseInt(string(got["exp"]), 10, 64); i == 1 && (err != nil || time.Until(time.Unix(expires, 0)) < 24*time.Hour) {
			t.Errorf("the token of %s ends at %s", role, got["exp"])
		}
	}
}
