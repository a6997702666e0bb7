package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// billOfMaterials lists what is in a program, in CycloneDX 1.6. It has no serial number, since the same program is to
// have the same bill, and its time is the commit's.
func billOfMaterials(s *source, t target, program []byte, modules []module) ([]byte, error) {
	sum := sha256.Sum256(program)
	main := component(cdx.ComponentTypeApplication, ours+"exporters/"+t.kind, "v"+s.version, []string{"Apache-2.0"})
	main.Name = t.exporter()
	main.PackageURL += "?goarch=" + t.arch + "&goos=" + t.os
	main.Hashes = &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum[:])}}
	parts := make([]cdx.Component, 0, len(modules))
	needs := make([]string, 0, len(modules))
	for _, m := range modules {
		c := component(cdx.ComponentTypeLibrary, m.path, m.version, m.licences)
		parts = append(parts, c)
		needs = append(needs, c.BOMRef)
	}
	bill := cdx.NewBOM()
	bill.Metadata = &cdx.Metadata{Timestamp: s.time.Format(time.RFC3339), Component: &main}
	bill.Components = &parts
	bill.Dependencies = &[]cdx.Dependency{{Ref: main.BOMRef, Dependencies: &needs}}
	var out bytes.Buffer
	encoder := cdx.NewBOMEncoder(&out, cdx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false)
	err := encoder.EncodeVersion(bill, cdx.SpecVersion1_6)
	return out.Bytes(), err
}

func component(kind cdx.ComponentType, path, version string, licences []string) cdx.Component {
	url := "pkg:golang/" + path + "@" + strings.ReplaceAll(version, "+", "%2B")
	choices := make(cdx.Licenses, 0, len(licences))
	for _, id := range licences {
		choices = append(choices, cdx.LicenseChoice{License: &cdx.License{ID: id}})
	}
	return cdx.Component{
		BOMRef: url, Type: kind, Name: path, Version: version, PackageURL: url, Licenses: &choices,
	}
}
