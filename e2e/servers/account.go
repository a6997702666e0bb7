package servers

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// account is who a server runs as when we are root: PostgreSQL refuses root.
// A nil account means ourselves.
type account struct{ uid, gid int }

// serverAccount returns postgres, else nobody, when we are root.
func serverAccount() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		found, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.Atoi(found.Uid)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.Atoi(found.Gid)
		return &account{uid, gid}, err
	}
	return nil, fmt.Errorf("PostgreSQL does not run as root, and there is no user postgres or nobody to run it as")
}

// apply makes a command run as the account. Where one of the paths it needs lies in a
// folder that is closed to the account, as a clone in root's home does, the process
// is given the capability to pass nevertheless.
func (a *account) apply(command *exec.Cmd, needs []string) {
	command.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	if !slices.ContainsFunc(append(needs, command.Path), a.shutOut) {
		return
	}
	const dacOverride = 1 // containers grant it, unlike the weaker CAP_DAC_READ_SEARCH
	command.SysProcAttr.AmbientCaps = []uintptr{dacOverride}
}

// keepCapabilities makes the capabilities of a command that this thread is about to start
// count everywhere. By default access(2), which PostgreSQL asks about its own programs,
// ignores those of a process that is not root; so do chdir and exec right after the
// change of the user.
func keepCapabilities(attributes *syscall.SysProcAttr) error {
	if len(attributes.AmbientCaps) == 0 {
		return nil
	}
	const noSetuidFixup = 1 << 2
	_, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_SECUREBITS, noSetuidFixup, 0)
	if errno != 0 {
		return fmt.Errorf("a folder is closed to the server's account, and the right to pass it cannot be given: %w", errno)
	}
	return nil
}

// shutOut reports whether the account may not pass a folder above the path.
func (a *account) shutOut(path string) bool {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil || !a.mayPass(info) {
			return true
		}
		if dir == filepath.Dir(dir) {
			return false
		}
	}
}

func (a *account) mayPass(dir fs.FileInfo) bool {
	mode := dir.Mode().Perm()
	owner, ok := dir.Sys().(*syscall.Stat_t)
	switch {
	case ok && int(owner.Uid) == a.uid:
		return mode&0o100 != 0
	case ok && int(owner.Gid) == a.gid:
		return mode&0o010 != 0
	}
	return mode&0o001 != 0
}

// own gives a file or folder to the account.
func (a *account) own(path string) error {
	if a == nil {
		return nil
	}
	return os.Lchown(path, a.uid, a.gid)
}

// writeFile writes a file that only the account can read.
func (a *account) writeFile(path, text string) error {
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	return a.own(path)
}

// appendFile adds text to the end of a file.
func appendFile(path, text string) error {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if _, err := file.WriteString(text); err != nil {
		_ = file.Close()
		return err
	}
	return file.Close()
}

// makeDir makes a folder of its own inside parent that only the account can enter;
// an empty parent is the system's folder for temporary files.
func (a *account) makeDir(parent, prefix string) (string, error) {
	dir, err := os.MkdirTemp(parent, prefix)
	if err != nil {
		return "", err
	}
	return dir, a.own(dir)
}
