// Package smtp will be the exporter for mail servers. There is nothing here yet but its place in the workspace.
package smtp
