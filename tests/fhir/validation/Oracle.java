import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.DefaultProfileValidationSupport;
import ca.uhn.fhir.context.support.IValidationSupport;
import ca.uhn.fhir.validation.FhirValidator;
import ca.uhn.fhir.validation.SingleValidationMessage;
import ca.uhn.fhir.validation.ValidationOptions;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.hl7.fhir.common.hapi.validation.support.CommonCodeSystemsTerminologyService;
import org.hl7.fhir.common.hapi.validation.support.InMemoryTerminologyServerValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.PrePopulatedValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.SnapshotGeneratingValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.ValidationSupportChain;
import org.hl7.fhir.common.hapi.validation.validator.FhirInstanceValidator;
import org.hl7.fhir.instance.model.api.IBaseResource;
import org.hl7.fhir.r5.model.CodeSystem;
import org.hl7.fhir.r5.utils.validation.constants.BestPracticeWarningLevel;

/**
 * HL7's instance validator over NDJSON: {@code Oracle (R4|R4B|R5 in.ndjson out.ndjson folder)...}, with the definitions
 * (*.json) of a folder ("" for none). Terminology is what the definitions and HAPI bring; nothing is asked of a network.
 * For each line of an input one line is written: {@code [[severity, message id, location, message], ...]}.
 * Settings are those of HL7's command line where HAPI's differ.
 */
public final class Oracle {
    private Oracle() {}

    public static void main(String[] arguments) throws Exception {
        // The definitions of a release are read once, whatever the number of inputs.
        Map<String, IValidationSupport> releases = new HashMap<>();
        for (int at = 0; at < arguments.length; at += 4) {
            IValidationSupport base = releases.computeIfAbsent(arguments[at], Oracle::base);
            String folder = arguments[at + 3];
            judge(base, Path.of(arguments[at + 1]), Path.of(arguments[at + 2]), folder.isEmpty() ? null : Path.of(folder));
        }
    }

    private static IValidationSupport base(String release) {
        return new WithHierarchies(
                switch (release) {
                    case "R4B" -> FhirContext.forR4B();
                    case "R5" -> FhirContext.forR5();
                    default -> FhirContext.forR4();
                });
    }

    private static void judge(IValidationSupport base, Path given, Path taken, Path folder) throws IOException {
        FhirContext context = base.getFhirContext();
        FhirInstanceValidator module = new FhirInstanceValidator(new ValidationSupportChain(
                new Definitions(context, folder),
                base,
                new CommonCodeSystemsTerminologyService(context),
                new InMemoryTerminologyServerValidationSupport(context),
                new SnapshotGeneratingValidationSupport(context)));
        module.setBestPracticeWarningLevel(BestPracticeWarningLevel.Ignore);
        module.setAnyExtensionsAllowed(true);
        module.setErrorForUnknownProfiles(false); // as HL7's command line, which warns of them
        FhirValidator validator = context.newValidator().registerValidatorModule(module);
        ObjectMapper mapper = new ObjectMapper();
        try (BufferedReader lines = Files.newBufferedReader(given, StandardCharsets.UTF_8);
                PrintStream out = new PrintStream(taken.toFile(), StandardCharsets.UTF_8)) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                out.println(mapper.writeValueAsString(messages(validator, line)));
                out.flush();
            }
        }
    }

    /** The definitions of a folder. Libraries are what the criteria of Measures refer to. */
    private static final class Definitions extends PrePopulatedValidationSupport {
        private final Map<String, IBaseResource> libraries = new HashMap<>();

        Definitions(FhirContext context, Path folder) throws IOException {
            super(context);
            try (Stream<Path> files = folder == null ? Stream.empty() : Files.list(folder)) {
                for (Path file : (Iterable<Path>) files.filter(path -> path.toString().endsWith(".json")).sorted()::iterator) {
                    IBaseResource resource = context.newJsonParser().parseResource(Files.readString(file));
                    if (context.getResourceType(resource).equals("Library")) {
                        libraries.put(context.newTerser().getSinglePrimitiveValueOrNull(resource, "url"), resource);
                    } else {
                        addResource(resource);
                    }
                }
            }
        }

        @Override
        public <T extends IBaseResource> T fetchResource(Class<T> type, String url) {
            IBaseResource library = libraries.get(url);
            return type != null && type.isInstance(library) ? type.cast(library) : super.fetchResource(type, url);
        }
    }

    /**
     * What HAPI brings, with concepts nested below those that their property {@code subsumedBy} names. HAPI's
     * terminology looks at nesting alone; HL7's packages of R5 have the hierarchies of v3 in the property alone.
     */
    private static final class WithHierarchies extends DefaultProfileValidationSupport {
        private final Set<CodeSystem> nested = Collections.newSetFromMap(new IdentityHashMap<>());

        WithHierarchies(FhirContext context) {
            super(context);
        }

        @Override
        public IBaseResource fetchCodeSystem(String url) {
            IBaseResource found = super.fetchCodeSystem(url);
            if (found instanceof CodeSystem system && nested.add(system)) {
                Map<String, CodeSystem.ConceptDefinitionComponent> concepts = new HashMap<>();
                system.getConcept().forEach(each -> concepts.put(each.getCode(), each));
                for (CodeSystem.ConceptDefinitionComponent each : system.getConcept()) {
                    for (CodeSystem.ConceptPropertyComponent property : each.getProperty()) {
                        CodeSystem.ConceptDefinitionComponent parent =
                                concepts.get(String.valueOf(property.getValue()));
                        if (property.getCode().equals("subsumedBy") && parent != null) {
                            parent.addConcept(each);
                        }
                    }
                }
            }
            return found;
        }
    }

    private static List<List<String>> messages(FhirValidator validator, String line) {
        List<List<String>> found = new ArrayList<>();
        try {
            for (SingleValidationMessage message :
                    validator.validateWithResult(line, new ValidationOptions()).getMessages()) {
                List<String> row = new ArrayList<>();
                row.add(message.getSeverity() == null ? "" : message.getSeverity().getCode());
                row.add(message.getMessageId());
                row.add(message.getLocationString());
                row.add(message.getMessage());
                found.add(row);
            }
        } catch (RuntimeException | StackOverflowError failure) {
            found.add(List.of("fatal", failure.getClass().getSimpleName(), "", String.valueOf(failure.getMessage())));
        }
        return found;
    }
}
