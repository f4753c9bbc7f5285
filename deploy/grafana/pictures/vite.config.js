// Grafana's libraries expect the component where the bundler gives the CommonJS module that holds it.
const scrollbars = {
  name: 'scrollbars',
  transform(code, id) {
    const imported = /import (\w+) from 'react-custom-scrollbars-2';/;
    return id.endsWith('CustomScrollbar.mjs')
      ? code.replace(imported, "import held from 'react-custom-scrollbars-2';\nconst $1 = held.default ?? held;")
      : undefined;
  },
};

// One page with everything in it; no addresses are absolute, so that any server may serve it.
export default { base: './', build: { chunkSizeWarningLimit: 100000 }, plugins: [scrollbars], logLevel: 'warn' };
