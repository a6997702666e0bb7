// Package vectordb will be the exporter for vector databases. There is nothing here yet but its place in the workspace.
package vectordb
