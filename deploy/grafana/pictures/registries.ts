// What Grafana's application registers when it starts: field properties that a dashboard may set, and transformations.
import {
  identityOverrideProcessor,
  standardFieldConfigEditorRegistry,
  standardTransformers,
  standardTransformersRegistry,
} from '@grafana/data';

const standard = ['displayName', 'unit', 'min', 'max', 'decimals', 'thresholds', 'mappings', 'links', 'color', 'noValue'];
standardFieldConfigEditorRegistry.setInit(() =>
  standard.map((path) => ({
    id: path,
    path,
    name: path,
    editor: () => null,
    override: () => null,
    process: identityOverrideProcessor,
    shouldApply: () => true,
    settings: {},
  })) as any
);
standardTransformersRegistry.setInit(() =>
  [standardTransformers.mergeTransformer, standardTransformers.organizeFieldsTransformer].map((transformation) => ({
    id: transformation.id,
    transformation: async () => transformation,
    name: transformation.name,
    editor: () => null,
  })) as any
);
