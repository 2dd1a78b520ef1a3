(component
  (core module $m (func (export "call-tool") (result i32) i32.const 0))
  (core instance $i (instantiate $m))
  (func $f (result u32) (canon lift (core func $i "call-tool")))
  (instance $tools (export "call-tool" (func $f)))
  (export "sophon:skill/tools@1.0.0" (instance $tools)))
