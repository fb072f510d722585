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
    // A browser asks for six files at a time: what every page needs comes in one, not in ten small ones.
    rolldownOptions: {
      output: {
        codeSplitting: {
          groups: [
            {
              name: 'frame',
              test: /@?preact\/|web\/src\/(?:api|format|grammar|shell|state)\/|text\/(?:en|text)\.ts/,
            },
            {
              name: 'widgets',
              test: /web\/src\/widgets\/(?:panel|number|choice|tile|ranking|more|sparkline|table|exports)\.tsx/,
            },
          ],
        },
      },
    },
  },
});
