// The tests of examples/09-kernel-tests.test.ts are tests here, too. In a file of their own: they boot when imported.
import '../../examples/09-kernel-tests.test.js'
