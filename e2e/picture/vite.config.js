import { defineConfig } from 'vite';

export default defineConfig({
  base: './',
  build: { target: 'es2022', minify: false, chunkSizeWarningLimit: 99999 },
  define: { 'process.env.NODE_ENV': '"production"', 'process.env': '{}' },
  esbuild: { jsx: 'automatic' },
});
