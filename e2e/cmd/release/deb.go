package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// releaseDeb has tools/deb.sh make the Debian package of a target, of the same program as is in its archive.
func (s *source) releaseDeb(ctx context.Context, t target, program, licences []byte, dist string) error {
	folder, err := os.MkdirTemp("", "release")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	// The manual page is what the program says of itself, on every platform the same.
	speaker := program
	if t.os != runtime.GOOS || t.arch != runtime.GOARCH {
		if speaker, err = s.build(ctx, target{kind: t.kind, os: runtime.GOOS, arch: runtime.GOARCH}); err != nil {
			return err
		}
	}
	here := func(name string) string { return filepath.Join(folder, name) }
	for name, content := range map[string][]byte{"program": program, "speaker": speaker, "licences": licences} {
		if err := os.WriteFile(here(name), content, 0o700); err != nil {
			return err
		}
	}
	_, err = s.output(ctx, []string{
		"PROGRAM=" + here("program"), "HOST_PROGRAM=" + here("speaker"), "LICENCES=" + here("licences"),
		"VERSION=" + s.version, fmt.Sprintf("SOURCE_DATE_EPOCH=%d", s.time.Unix()),
	}, filepath.Join(s.root, "tools", "deb.sh"), t.kind, t.arch, dist)
	return err
}
