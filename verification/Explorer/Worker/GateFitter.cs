using Explorer.Races;
using Explorer.Scheduling;
using Mono.Cecil;
using Mono.Cecil.Cil;

namespace Explorer.Worker;

/// <summary>
/// Puts <see cref="Gates"/> into assemblies that are rewritten for the scheduler: what these call at each method and each field goes through a gate. Of
/// branches the scheduler never wants to know: those calls are taken out. Then it fits <see cref="Edges"/>, as <see cref="EdgeFitter"/> says.
/// </summary>
public static class GateFitter
{
    private const string Operation = "Microsoft.Coyote.Runtime.Operation";
    private const string SchedulingPoint = "Microsoft.Coyote.Runtime.SchedulingPoint";

    /// <summary>Fits each assembly, and writes those in which there was something to do.</summary>
    /// <param name="folder">Where they and what they refer to are.</param>
    /// <param name="names">Names of their files.</param>
    public static void Fit(string folder, IEnumerable<string> names)
    {
        foreach (string name in names) Fit(folder, name);
    }

    /// <summary>How many calls go past the gates, or order agents and tell nobody.</summary>
    /// <param name="path">The assembly.</param>
    public static int CountWithout(string path)
    {
        using AssemblyDefinition assembly = Read(Path.GetDirectoryName(path)!, Path.GetFileName(path));
        return Calls(assembly.MainModule).Count() + EdgeFitter.CountWithout(assembly.MainModule, (space, type) => ReferTo(assembly.MainModule, space, type));
    }

    private static void Fit(string folder, string name)
    {
        using AssemblyDefinition assembly = Read(folder, name);
        ModuleDefinition module = assembly.MainModule;
        List<Instruction> calls = [.. Calls(module)];
        bool isChanged = EdgeFitter.Fit(module, (space, type) => ReferTo(module, space, type));
        if (calls.Count == 0 && !isChanged) return;
        TypeReference gates = ReferTo(module, typeof(Gates).Namespace, nameof(Gates));
        var method = new MethodReference(nameof(Gates.Method), module.TypeSystem.Void, gates) { Parameters = { new(module.TypeSystem.String) } };
        var field = new MethodReference(nameof(Gates.Field), module.TypeSystem.Void, gates);
        foreach (Instruction call in calls)
        {
            switch (((MethodReference)call.Operand!).Name)
            {
                case "RegisterCallSite":
                    call.Operand = method;
                    break;
                case "InterleaveMemoryAccess":
                    call.Operand = field;
                    break;
                default:
                    call.OpCode = OpCodes.Nop;
                    call.Operand = null;
                    break;
            }
        }

        assembly.Write(Path.Combine(folder, name), new WriterParameters { WriteSymbols = module.HasSymbols });
    }

    private static IEnumerable<Instruction> Calls(ModuleDefinition module) =>
        from type in module.GetTypes()
        where type.FullName != typeof(Gates).FullName
        from method in type.Methods
        where method.HasBody
        from instruction in method.Body.Instructions
        where instruction.OpCode == OpCodes.Call && instruction.Operand is MethodReference called && IsTold(called.DeclaringType.FullName, called.Name)
        select instruction;

    private static bool IsTold(string type, string method) => (type, method) is
        (Operation, "RegisterCallSite") or (SchedulingPoint, "InterleaveMemoryAccess") or (SchedulingPoint, "InterleaveControlFlow");

    private static TypeReference ReferTo(ModuleDefinition module, string? space, string type)
    {
        if (module.GetType($"{space}.{type}") is { } here) return here;
        System.Reflection.AssemblyName name = typeof(Gates).Assembly.GetName();
        AssemblyNameReference? reference = module.AssemblyReferences.FirstOrDefault(reference => reference.Name == name.Name);
        if (reference is null) module.AssemblyReferences.Add(reference = new(name.Name, name.Version));
        return new(space, type, module, reference);
    }

    private static AssemblyDefinition Read(string folder, string name)
    {
        var resolver = new DefaultAssemblyResolver();
        resolver.AddSearchDirectory(folder);
        resolver.AddSearchDirectory(Path.GetDirectoryName(typeof(object).Assembly.Location));
        var symbols = new DefaultSymbolReaderProvider(throwIfNoSymbol: false);
        return AssemblyDefinition.ReadAssembly(
            Path.Combine(folder, name), new() { InMemory = true, AssemblyResolver = resolver, ReadSymbols = true, SymbolReaderProvider = symbols });
    }
}
