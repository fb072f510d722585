import { defineConfig } from 'vite';

/** The dashboard: static files that the query service serves at `/`. */
export default defineConfig({
  base: '/',
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: {
    outDir: 'dist/site',
    assetsDir: 'assets',
    target: 'es2022',
    modulePreload: { polyfill: false },
    // Fonts and pictures stay files: the content security policy allows no data: URLs.
    assetsInlineLimit: 0,
  },
});
